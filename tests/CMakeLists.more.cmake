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
  add_test(NAME transport_${stem} COMMAND transport_${stem})
  set_tests_properties(transport_${stem} PROPERTIES LABELS unit TIMEOUT 300)
endforeach()
# End of the transport.
