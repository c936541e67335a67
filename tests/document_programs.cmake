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

# The same, as a test that passes if the program prints `output`, a regular expression. A ';' would end that, and begin
# another one that may match instead: '.' stands for it.
function(ipcq_document_test program document heading output)
  if("${output}" MATCHES ";")
    message(FATAL_ERROR "${program}: its output has a ';', which would make it several expressions")
  endif()
  ipcq_document_program(${program} ${document} "${heading}")
  add_test(NAME ${program} COMMAND "${CMAKE_COMMAND}" -E env "XDG_RUNTIME_DIR=${CMAKE_CURRENT_BINARY_DIR}" $<TARGET_FILE:${program}>)
  set_tests_properties(${program} PROPERTIES
    LABELS process TIMEOUT 60 RUN_SERIAL ON PASS_REGULAR_EXPRESSION "${output}")
  ipcq_test_needs(${program} ${program})
endfunction()

ipcq_document_test(readme_program README.md "## The API"
  "^4096 bytes\n4 bytes\n$")

# programs/life_cycle_test.sh runs it.
ipcq_document_program(life_cycle_program docs/guide/life-cycle.md "## In C++")

ipcq_document_test(calls_program docs/guide/calls.md "## In C++"
  "^alpha: re: alpha\nbeta: re: beta\ngamma: re: gamma\ncount: one\ncount: two\ncount: three\ndivide by 0: 33, not a number\nslow: expired\nslow: cancelled\n$")

ipcq_document_test(types_program docs/guide/types.md "## In C++"
  "^ACME 99.5\nTick{time u64 @0. price f64 @8. symbol char.8. @16}24\n{\"time\":1,\"price\":99.5,\"symbol\":\"ACME\"}\nrefused: queue 'ticks': its messages are 'Tick{[^\n]*Wrong{[^\n]*\nsensor 7: 499500 mV\nsensor 8: 0 V\nframe 3: 1920 x 1080, first byte 255, 136 bytes beside it\n$")

ipcq_document_test(event_loops_program docs/guide/event-loops.md "## In C++"
  "^reply: 0\nnews: one\nnews: two\n2 seen\n$")
