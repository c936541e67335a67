# Programs of the documents, word for word: the first C++ block behind a heading.
function(ipcq_document_program program document heading)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${document}")
  file(READ "${PROJECT_SOURCE_DIR}/${document}" text)
  foreach(mark "\n${heading}\n" "```cpp\n")
    string(FIND "${text}" "${mark}" at)
    if(at EQUAL -1)
      message(FATAL_ERROR "${document}: no '${mark}' behind '${heading}', where ${program} is taken from")
    endif()
    string(SUBSTRING "${text}" ${at} -1 text)
  endforeach()
  string(REGEX REPLACE "^```cpp\n" "" text "${text}")
  string(FIND "${text}" "```" at)
  string(SUBSTRING "${text}" 0 ${at} text)
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${program}.cpp")
  file(WRITE "${source}.new" "${text}")
  configure_file("${source}.new" "${source}" COPYONLY)
  add_executable(${program} "${source}")
  ipcq_target_defaults(${program})
  target_link_libraries(${program} PRIVATE ipcq::ipcq)
  set_target_properties(${program} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
endfunction()

ipcq_document_program(readme_program README.md "## The API")
add_test(NAME readme_program COMMAND "${CMAKE_COMMAND}" -E env "XDG_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}" $<TARGET_FILE:readme_program>)
set_tests_properties(readme_program PROPERTIES
  LABELS process TIMEOUT 60 RUN_SERIAL ON PASS_REGULAR_EXPRESSION "^4096 bytes\n4 bytes\n$")
ipcq_test_needs(readme_program readme_program)

# programs/life_cycle_test.sh runs it.
ipcq_document_program(life_cycle_program docs/guide/life-cycle.md "## In C++")

ipcq_document_program(calls_program docs/guide/calls.md "## In C++")
add_test(NAME calls_program COMMAND "${CMAKE_COMMAND}" -E env "XDG_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}" $<TARGET_FILE:calls_program>)
set_tests_properties(calls_program PROPERTIES
  LABELS process TIMEOUT 60 RUN_SERIAL ON PASS_REGULAR_EXPRESSION
  "^alpha: re: alpha\nbeta: re: beta\ngamma: re: gamma\ncount: one\ncount: two\ncount: three\ndivide by 0: 33, not a number\nslow: expired\nslow: cancelled\n$")
ipcq_test_needs(calls_program calls_program)

ipcq_document_program(types_program docs/guide/types.md "## In C++")
add_test(NAME types_program COMMAND "${CMAKE_COMMAND}" -E env "XDG_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}" $<TARGET_FILE:types_program>)
set_tests_properties(types_program PROPERTIES
  LABELS process TIMEOUT 60 RUN_SERIAL ON PASS_REGULAR_EXPRESSION
  "^ACME 99.5\nTick{time u64 @0; price f64 @8; symbol char.8. @16}24\n{\"time\":1,\"price\":99.5,\"symbol\":\"ACME\"}\nrefused: queue 'ticks': its messages are 'Tick{[^\n]*Wrong{[^\n]*\nsensor 7: 499500 mV\nsensor 8: 0 V\nframe 3: 1920 x 1080, first byte 255, 136 bytes beside it\n$")
ipcq_test_needs(types_program types_program)

ipcq_document_program(event_loops_program docs/guide/event-loops.md "## In C++")
add_test(NAME event_loops_program COMMAND "${CMAKE_COMMAND}" -E env "XDG_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}" $<TARGET_FILE:event_loops_program>)
set_tests_properties(event_loops_program PROPERTIES
  LABELS process TIMEOUT 60 RUN_SERIAL ON PASS_REGULAR_EXPRESSION "^reply: 0\nnews: one\nnews: two\n2 seen\n$")
ipcq_test_needs(event_loops_program event_loops_program)
