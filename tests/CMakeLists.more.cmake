# Rules that hold every source file, and the tests of a real mount, which need the built programs and /dev/fuse.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(rule layers text_rules)
  add_test(NAME unit_${rule} COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/unit/${rule}.py)
  set_tests_properties(unit_${rule} PROPERTIES LABELS unit TIMEOUT 60)
endforeach()
file(GLOB mount_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/mount/*_test.py)
foreach(source ${mount_tests})
  get_filename_component(stem ${source} NAME_WE)
  add_test(NAME mount_${stem} COMMAND ${Python3_EXECUTABLE} ${source})
  set_tests_properties(mount_${stem} PROPERTIES LABELS mount TIMEOUT 900 SKIP_RETURN_CODE 77
                       ENVIRONMENT "EBB_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endforeach()

# The transport over real sockets.
file(GLOB transport_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/transport/*_test.cpp)
foreach(source ${transport_tests})
  get_filename_component(stem ${source} NAME_WE)
  add_executable(transport_${stem} ${source})
  target_link_libraries(transport_${stem} PRIVATE ebb_proto_asio GTest::gtest_main)
  ebb_unoptimised(transport_${stem})
  ebb_precompile(transport_${stem} ebb_proto_asio)
  add_test(NAME transport_${stem} COMMAND transport_${stem})
  set_tests_properties(transport_${stem} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()

# The text of the format, and what fuzzing has found.
add_test(NAME unit_protocol_page COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/unit/protocol_page.py)
set_tests_properties(unit_protocol_page PROPERTIES LABELS unit TIMEOUT 60)
add_subdirectory(fuzz)
# End of the transport.

# Requests of a kernel that the test plays, to a core whose answers the test writes.
foreach(name ops folders notifier)
  target_sources(kernel_${name}_test PRIVATE kernel/fake_client.cpp kernel/kernel.cpp)
endforeach()
# End of the played kernel.

# What `ebb --help` says beside its pages.
add_test(NAME unit_ebb_man COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/unit/ebb_man.py)
set_tests_properties(unit_ebb_man PROPERTIES LABELS unit TIMEOUT 120 ENVIRONMENT "EBB_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
# End of the pages of ebb.

# The program ebb without a mount.
add_executable(program_parsing_test program/parsing_test.cpp)
target_link_libraries(program_parsing_test PRIVATE ebb_program GTest::gtest_main)
ebb_unoptimised(program_parsing_test)
ebb_precompile(program_parsing_test ebb_proto_asio)
add_test(NAME program_parsing_test COMMAND program_parsing_test)
set_tests_properties(program_parsing_test PROPERTIES LABELS unit TIMEOUT 120)
# End of the program ebb without a mount.

# Maps of directories; the programs as they are built, no mount.
foreach(name fsmap patch)
  add_test(NAME program_${name}_test COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/program/${name}_test.py)
  set_tests_properties(program_${name}_test PROPERTIES LABELS mount TIMEOUT 300 ENVIRONMENT "EBB_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endforeach()
# End of the maps.

# A client written from ebb-protocol(7) alone, with the real ebbd.
# And peers that do not keep to it.
foreach(name client hostile)
  add_test(NAME compat_${name}_test COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/compat/${name}_test.py)
  set_tests_properties(compat_${name}_test PROPERTIES LABELS mount TIMEOUT 300 ENVIRONMENT "EBB_BIN_DIR=${CMAKE_BINARY_DIR}/bin")
endforeach()
# End of the independent client.

# The store alone, measured; tests/bench/store_figures runs it.  Built with everything, so that it keeps compiling.
add_executable(store_bench bench/store_bench.cpp)
target_link_libraries(store_bench PRIVATE ebb_store)
ebb_precompile(store_bench ebb_base)
add_test(NAME bench_store COMMAND store_bench ${CMAKE_BINARY_DIR}/store_bench.data 3000 1000)
set_tests_properties(bench_store PROPERTIES LABELS unit TIMEOUT 120)
# End of the store's figures.
