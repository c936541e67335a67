# Tests of users' handlers in queues on a GPU; handler_tests.cmake has those on the host, of the same sources.
set(own_handler_sources own_handlers/calls_test.cpp own_handlers/compiled_handler_test.cpp own_handlers/handler_message_test.cpp
  own_handlers/handler_team_test.cpp own_handlers/isolate_test.cpp own_handlers/local_memory_test.cpp own_handlers/own_handler_test.cpp
  own_handlers/pause_test.cpp own_handlers/replace_test.cpp own_handlers/state_test.cpp own_handlers/typed_handler_test.cpp)
if(IPCQ_WITH_CUDA AND IPCQ_BUILD_PROGRAMS)
  ipcq_add_test(gpu_own_handler_test ${own_handler_sources} own_handlers/device_fault_test.cpp
    own_handlers/quick_start_test.cpp LABELS gpu TIMEOUT 300 SERIAL)
  target_compile_definitions(gpu_own_handler_test PRIVATE IPCQ_OWN_BACKEND="cuda")
  add_dependencies(gpu_own_handler_test ipcq-runner ipcq-compiler)
endif()
