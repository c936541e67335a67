# ipcq-redis. Servers are real ones, which the tests start.
if(NOT TARGET ipcq-redis)
  return()
endif()
set(bridge "${CMAKE_CURRENT_LIST_DIR}/bridge")
ipcq_add_test(bridge_test bridge/address_test.cpp bridge/config_file_test.cpp bridge/entry_test.cpp
  bridge/metrics_test.cpp bridge/metrics_server_test.cpp bridge/options_test.cpp bridge/payload_template_test.cpp bridge/reply_test.cpp bridge/source_order_test.cpp
  LIBS ipcq_bridge LABELS unit)
add_library(redis_fixture OBJECT bridge/redis_test.cpp programs/commands.cpp)
ipcq_compile_test(redis_fixture INTERFACE)
target_link_libraries(redis_fixture PRIVATE ipcq_bridge)
# The scripts that run in the server.
ipcq_add_test(redis_scripts_test bridge/scripts_test.cpp bridge/chores_scripts_test.cpp bridge/looking_scripts_test.cpp LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 120)
# The program, as a shell starts it.
ipcq_add_test(redis_streams_test bridge/streams_test.cpp bridge/failures_test.cpp bridge/starts_test.cpp
  LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 300 SERIAL)
ipcq_add_test(redis_lists_test bridge/lists_test.cpp LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 300 SERIAL)
ipcq_add_test(redis_topologies_test bridge/topologies_test.cpp LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 300 SERIAL)
ipcq_add_test(redis_commands_test bridge/commands_test.cpp LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 120)
ipcq_add_test(redis_deaths_test bridge/deaths_test.cpp bridge/server_deaths_test.cpp LIBS redis_fixture ipcq_bridge LABELS process TIMEOUT 300 SERIAL)
foreach(topic streams lists topologies commands deaths)
  add_dependencies(redis_${topic}_test ipcq-redis ${IPCQ_PROGRAMS})
endforeach()
if(IPCQ_BUILD_BENCH AND NOT IPCQ_SANITIZE)
  add_test(NAME redis_bench_test COMMAND "${PROJECT_SOURCE_DIR}/bench/redis/throughput.py" --bin "${PROJECT_BINARY_DIR}/bin"
    --client "${PROJECT_BINARY_DIR}/bin/redis_client" --count 2000 --runs 1 --no-target)
  ipcq_test_needs(redis_bench_test redis_client ipcq-redis ${IPCQ_PROGRAMS})
  set_tests_properties(redis_bench_test PROPERTIES LABELS process TIMEOUT 180 RUN_SERIAL ON)
endif()
# The programs and the server, killed at random; in short. And as the README shows it.
if(NOT IPCQ_SANITIZE)
  add_test(NAME redis_soak COMMAND "${PROJECT_SOURCE_DIR}/scripts/soak-redis" --bin "${PROJECT_BINARY_DIR}/bin" --kills 20 --stall)
  add_test(NAME redis_demo_test COMMAND "${PROJECT_SOURCE_DIR}/scripts/demo" --redis --backend host --bin "${PROJECT_BINARY_DIR}/bin"
    --tasks 20000)
  foreach(test redis_soak redis_demo_test)
    ipcq_test_needs(${test} ipcq-redis ${IPCQ_PROGRAMS})
    set_tests_properties(${test} PROPERTIES LABELS process TIMEOUT 300 RUN_SERIAL ON)
  endforeach()
endif()

# The same against other servers, where they are: .ci/run puts them into build/servers.
file(GLOB servers "${PROJECT_SOURCE_DIR}/build/servers/lib/python*/site-packages/*/bin")
find_program(IPCQ_VALKEY valkey-server HINTS ${servers})
find_program(IPCQ_REDIS_6 redis-server PATHS ${servers} NO_DEFAULT_PATH)
function(ipcq_test_with_server name server)
  if(NOT server OR IPCQ_SANITIZE)
    return()
  endif()
  foreach(topic scripts commands streams lists topologies deaths)
    add_test(NAME ${name}_${topic}_test
      COMMAND "${CMAKE_CURRENT_LIST_DIR}/run_test.sh" $<TARGET_FILE:redis_${topic}_test>)
    ipcq_test_needs(${name}_${topic}_test redis_${topic}_test)
    set_tests_properties(${name}_${topic}_test PROPERTIES LABELS process TIMEOUT 300 RUN_SERIAL ON
      ENVIRONMENT "IPCQ_BIN_DIR=${PROJECT_BINARY_DIR}/bin;IPCQ_REDIS_SERVER=${server}"
      FAIL_REGULAR_EXPRESSION "Running 0 tests from")
  endforeach()
endfunction()
ipcq_test_with_server(valkey "${IPCQ_VALKEY}")
ipcq_test_with_server(redis_6 "${IPCQ_REDIS_6}")
