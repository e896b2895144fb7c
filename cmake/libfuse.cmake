# ebb_libfuse: libfuse 3.  scripts/deps builds a newer one (3.17: passthrough) into build/libfuse where the
# machine's own is older; without it, or with EBB_LIBFUSE=system, the machine's is used and passthrough is off.
add_library(ebb_libfuse INTERFACE)
set(built ${CMAKE_SOURCE_DIR}/build/libfuse)
if(EBB_LIBFUSE STREQUAL "auto" AND EXISTS ${built}/lib/libfuse3.a)
  target_include_directories(ebb_libfuse SYSTEM INTERFACE ${built}/include/fuse3)
  target_link_libraries(ebb_libfuse INTERFACE ${built}/lib/libfuse3.a Threads::Threads dl rt)
else()
  pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
  target_link_libraries(ebb_libfuse INTERFACE PkgConfig::fuse3)
endif()
