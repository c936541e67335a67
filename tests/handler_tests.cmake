# Handlers of the user's, compiled: for the host everywhere, for a GPU where NVRTC is.
set(guide "${PROJECT_SOURCE_DIR}/docs/guide/handlers.md")
ipcq_add_test(handler_compile_test
  programs/commands.cpp programs/handler_cache_test.cpp programs/handler_compile_test.cpp
  LIBS ipcq_program ${CMAKE_DL_LIBS} LABELS process TIMEOUT 180)
add_dependencies(handler_compile_test ipcq_cli ipcq-compiler)
target_compile_definitions(handler_compile_test PRIVATE IPCQ_HANDLER_GUIDE="${guide}")
add_test(NAME handler_architectures_test COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/cmake/handler_architectures_test.sh"
  "${CMAKE_COMMAND}" "${PROJECT_SOURCE_DIR}")
set_tests_properties(handler_architectures_test PROPERTIES LABELS "unit;once" TIMEOUT 60)
ipcq_test_needs(handler_architectures_test)
# A handler that is built ahead, for the GPU of this machine alone.
set(host_only HOST_ONLY)
if(IPCQ_WITH_CUDA)
  set(host_only "")
endif()
set(built_handler SOURCES own_handlers/built/sort_fours.cu
  INCLUDES "${CMAKE_CURRENT_SOURCE_DIR}" DEFINITIONS NUMBERS_TOGETHER=4)
ipcq_add_handler(sort_fours ${built_handler} CUDA_ARCHITECTURES ${IPCQ_BRIEF_ARCHITECTURES} ${host_only})
ipcq_add_handler(sort_fours_on_host ${built_handler} HOST_ONLY)
function(ipcq_test_built_handler test)
  add_dependencies(${test} sort_fours sort_fours_on_host)
  target_compile_definitions(${test} PRIVATE
    IPCQ_BUILT_HANDLER="$<TARGET_FILE_NAME:sort_fours>" IPCQ_BUILT_FOR_HOST="$<TARGET_FILE_NAME:sort_fours_on_host>")
endfunction()
# One of the C contract, as device code of other compilers, for the oldest GPU that is compiled for.
set(c_step "${CMAKE_CURRENT_SOURCE_DIR}/own_handlers/c_step.cu")
set(c_code "")
if(IPCQ_WITH_CUDA)
  list(GET IPCQ_BRIEF_ARCHITECTURES 0 capability)
  foreach(kind IN ITEMS ptx ltoir)
    set(code_ptx compute_${capability})
    set(code_ltoir lto_${capability})
    add_custom_command(OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/c_step.${kind}"
      COMMAND "${CUDAToolkit_NVCC_EXECUTABLE}" -${kind} -rdc=true -std=c++20
        "-gencode=arch=compute_${capability},code=${code_${kind}}" "-I${PROJECT_SOURCE_DIR}/libipcq/include"
        -o "${CMAKE_CURRENT_BINARY_DIR}/c_step.${kind}" "${c_step}"
      DEPENDS "${c_step}" "${PROJECT_SOURCE_DIR}/libipcq/include/ipcq/handler.h" VERBATIM
      COMMENT "Compiling c_step.${kind}")
    list(APPEND c_code c_step.${kind})
  endforeach()
  # The LTO-IR as it lies in an object.
  file(WRITE "${CMAKE_CURRENT_BINARY_DIR}/c_step_object.s" ".section .ipcq_ltoir,\"a\",@progbits\n"
    ".incbin \"${CMAKE_CURRENT_BINARY_DIR}/c_step.ltoir\"\n.section .note.GNU-stack,\"\",@progbits\n")
  add_custom_command(OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/c_step.o"
    COMMAND "${CMAKE_CXX_COMPILER}" -c "${CMAKE_CURRENT_BINARY_DIR}/c_step_object.s"
      -o "${CMAKE_CURRENT_BINARY_DIR}/c_step.o"
    DEPENDS "${CMAKE_CURRENT_BINARY_DIR}/c_step.ltoir" VERBATIM COMMENT "Assembling c_step.o")
  list(APPEND c_code c_step.o)
  # And by Numba, where this Python has it.
  find_program(IPCQ_PYTHON3 python3)
  if(IPCQ_PYTHON3)
    execute_process(COMMAND "${IPCQ_PYTHON3}" -c "import numba.cuda; numba.cuda.compile"
      RESULT_VARIABLE no_numba OUTPUT_QUIET ERROR_QUIET)
  endif()
  if(IPCQ_PYTHON3 AND no_numba EQUAL 0)
    set(by_numba "${CMAKE_CURRENT_SOURCE_DIR}/own_handlers/numba_step.py")
    add_custom_command(OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/numba_step.ltoir"
      COMMAND "${IPCQ_PYTHON3}" "${by_numba}" "${CMAKE_CURRENT_BINARY_DIR}/numba_step.ltoir" ${capability}
      DEPENDS "${by_numba}" VERBATIM COMMENT "Compiling numba_step.ltoir")
    list(APPEND c_code numba_step.ltoir)
  else()
    message(STATUS "ipcq: tests of handlers without one that Numba compiles (python3 has no numba.cuda.compile)")
  endif()
  list(TRANSFORM c_code PREPEND "${CMAKE_CURRENT_BINARY_DIR}/" OUTPUT_VARIABLE c_files)
  add_custom_target(c_code DEPENDS ${c_files})
endif()
# They lie beside the tests, as does the source. Their names, separated by colons.
configure_file("${c_step}" c_step.cu COPYONLY)
set(c_words "${CMAKE_CURRENT_SOURCE_DIR}/own_handlers/c_words.cu")
configure_file("${c_words}" c_words.cu COPYONLY)
add_custom_command(OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/c_words.o"
  COMMAND "${CMAKE_CXX_COMPILER}" -xc++ -std=c++20 -O2 -fPIC "-I${PROJECT_SOURCE_DIR}/libipcq/include"
    -c "${c_words}" -o "${CMAKE_CURRENT_BINARY_DIR}/c_words.o"
  DEPENDS "${c_words}" "${PROJECT_SOURCE_DIR}/libipcq/include/ipcq/handler.h" VERBATIM COMMENT "Compiling c_words.o")
add_custom_target(c_object DEPENDS "${CMAKE_CURRENT_BINARY_DIR}/c_words.o")
function(ipcq_test_c_handler test)
  list(JOIN c_code ":" files)
  target_compile_definitions(${test} PRIVATE IPCQ_C_HANDLER_SOURCE="${c_step}" IPCQ_C_HANDLER_CODE="${files}")
  add_dependencies(${test} c_object)
  if(TARGET c_code)
    add_dependencies(${test} c_code)
  endif()
endfunction()
if(TARGET gpu_own_handler_test)
  ipcq_test_built_handler(gpu_own_handler_test)
  ipcq_test_c_handler(gpu_own_handler_test)
endif()

# In queues of a broker on the host; on a GPU it is gpu_own_handler_test.
ipcq_add_test(own_handler_test ${own_handler_sources} LABELS process SERIAL TIMEOUT 300)
ipcq_add_test(handler_fault_test own_handlers/handler_fault_test.cpp own_handlers/isolate_fault_test.cpp
  own_handlers/live_change_test.cpp
  LABELS process SERIAL TIMEOUT 300)
add_dependencies(own_handler_test ipcq-host-runner ipcq-compiler)
add_dependencies(handler_fault_test ipcq-host-runner ipcq-compiler)
target_compile_definitions(own_handler_test PRIVATE IPCQ_OWN_BACKEND="host")
ipcq_test_built_handler(own_handler_test)
ipcq_test_c_handler(own_handler_test)
ipcq_test_built_handler(handler_compile_test)

if(TARGET CUDA::nvrtc)
  ipcq_add_test(handler_check_test programs/commands.cpp programs/handler_check_test.cpp programs/handler_mistakes_test.cpp LIBS ipcq_program
    LABELS process TIMEOUT 240)
  add_dependencies(handler_check_test ipcq_cli ipcq-compiler)
  target_compile_definitions(handler_check_test PRIVATE
    IPCQ_HANDLER_GUIDE="${guide}" IPCQ_EXAMPLES="${PROJECT_SOURCE_DIR}/examples" IPCQ_DEVICE_CODE="${IPCQ_DEVICE_CODE}")
  ipcq_test_c_handler(handler_check_test)
elseif(IPCQ_WITH_CUDA)
  message(STATUS "ipcq: without handler_check_test (the CUDA toolkit has no NVRTC)")
endif()
