# The examples, as a user runs them.

# ipcq_add_examples_test(NAME backend label)
function(ipcq_add_examples_test name backend label)
  if(NOT IPCQ_BUILD_EXAMPLES OR NOT IPCQ_BUILD_PROGRAMS)
    return()
  endif()
  ipcq_add_test(${name} examples/examples_test.cpp programs/commands.cpp LIBS ipcq_program LABELS ${label} TIMEOUT 300)
  target_compile_definitions(${name} PRIVATE
    IPCQ_EXAMPLES_BACKEND="${backend}" IPCQ_EXAMPLES="${PROJECT_SOURCE_DIR}/examples")
  add_dependencies(${name} example_anomalies example_histogram example_log_filter example_matmul
    example_page_rank example_vector_add ${IPCQ_PROGRAMS})
endfunction()
ipcq_add_examples_test(examples_test host process)
