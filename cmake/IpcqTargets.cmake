# What every target of this project has in common: language, warnings, sanitizers. All of it PRIVATE, so that nothing
# reaches a project that links ipcq.

# ipcq_target_defaults(TARGET): call it for each library and executable.
function(ipcq_target_defaults target)
  set_target_properties(${target} PROPERTIES
    CXX_STANDARD 20
    CXX_STANDARD_REQUIRED ON
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wconversion -Wno-sign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-qual -Wformat=2 -Wvla
    $<$<CXX_COMPILER_ID:GNU>:-Wshadow=local -Wduplicated-cond -Wlogical-op>
    $<$<BOOL:${IPCQ_WERROR}>:-Werror>)
  if(IPCQ_SANITIZE)
    list(JOIN IPCQ_SANITIZE "," sanitizers)
    target_compile_options(${target} PRIVATE
      -fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer
      # GCC's reminder that TSan does not model fences; where one is used, ordering.md says why it is enough.
      $<$<CXX_COMPILER_ID:GNU>:-Wno-tsan>)
    target_link_options(${target} PRIVATE -fsanitize=${sanitizers})
  endif()
endfunction()

# ipcq_add_program(TARGET [OUTPUT name] source...): a command-line program beside the others, installed with them. OUTPUT
# is its file name where a target of that name exists already.
function(ipcq_add_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "OUTPUT" "")
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  if(arg_OUTPUT)
    set_target_properties(${name} PROPERTIES OUTPUT_NAME ${arg_OUTPUT})
  endif()
  ipcq_target_defaults(${name})
  target_link_libraries(${name} PRIVATE ipcq::ipcq)
  if(IPCQ_INSTALL)
    file(RELATIVE_PATH to_lib "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
    set_target_properties(${name} PROPERTIES INSTALL_RPATH "$ORIGIN/${to_lib}")
    install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endfunction()

# Compiles through ccache when it is there and the user has not chosen a launcher. It takes precompiled headers only where
# it is told that no macro is defined before them and that they do not say the time. Paths below the project are hashed as
# relative ones, so that another build folder of the same flags (build/wheel beside build/release), or another clone,
# finds what is there. IPCQ_NVCC_LAUNCHER: what stands before nvcc. There ccache has to go by the files that the compiler
# has read: preprocessed, a source shows the code of one GPU architecture only.
macro(ipcq_use_ccache)
  find_program(IPCQ_CCACHE ccache)
  set(IPCQ_NVCC_LAUNCHER "")
  if(IPCQ_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
      CCACHE_SLOPPINESS=pch_defines,time_macros "${IPCQ_CCACHE}")
    set(IPCQ_NVCC_LAUNCHER "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}" CCACHE_DEPEND=1 "${IPCQ_CCACHE}")
  endif()
endmacro()
