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
