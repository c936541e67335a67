# ipcq_add_handler(NAME SOURCES file.cu [more.cpp...] [CUDA_ARCHITECTURES 90...] [INCLUDES folder...]
#                  [DEFINITIONS NAME=VALUE...] [LIBRARIES target...] [HOST_ONLY])
#
# Builds a handler of queues ahead, for `handler=libNAME.so`: target NAME, a shared object. The first source is the one
# with IPCQ_HANDLER; the others are compiled for the host and linked to it. The file holds code for the host, by the
# project's C++ compiler, and a fat binary, by nvcc: for each of CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES, else
# the first of each generation), and PTX of the newest for GPUs to come. CMake's words are known: `native`, this
# machine's GPUs; `all` and `all-major`, what nvcc names, from 7.0 on. Any header may be used; what only nvcc compiles
# stands between `#if defined(__CUDACC__)` and `#endif`. HOST_ONLY, or no CUDA toolkit: the host alone.
#
# find_package(ipcq) brings this file; ipcq's own build includes it. Queues load such a handler with the release of ipcq
# that it was built with.

# What handler `name` is to be compiled for, as numbers. `wanted`: as CUDA_ARCHITECTURES has it; 90-real and 90 are 90.
function(ipcq_handler_architectures result name wanted)
  set(architectures "")
  foreach(word IN LISTS wanted)
    set(numbers "")
    set(because "it is no compute capability")
    if(word MATCHES "^([0-9]+[af]?)(-real|-virtual)?$")
      set(numbers "${CMAKE_MATCH_1}")
      if(numbers LESS 70)
        set(numbers "")
        set(because "ipcq runs on 70 and later")
      endif()
    elseif(word STREQUAL "native")
      ipcq_native_architectures(numbers)
      set(because "nvidia-smi is missing, or finds no GPU here")
    elseif(word MATCHES "^all(-major)?$")
      ipcq_known_architectures(numbers "${CUDAToolkit_NVCC_EXECUTABLE}" "${word}")
      set(because "${CUDAToolkit_NVCC_EXECUTABLE} --list-gpu-arch names none")
    endif()
    if(NOT numbers)
      message(FATAL_ERROR "ipcq_add_handler(${name}): '${word}' in CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES), "
        "'${wanted}', is nothing to compile for: ${because}. Give compute capabilities, such as 80 90, or one of native, "
        "all and all-major")
    endif()
    list(APPEND architectures ${numbers})
  endforeach()
  if(NOT architectures)
    ipcq_default_architectures(architectures "${CUDAToolkit_VERSION}")
  endif()
  list(REMOVE_DUPLICATES architectures)
  list(SORT architectures COMPARE NATURAL)
  set(${result} ${architectures} PARENT_SCOPE)
endfunction()

# The fat binary of a target's handler; its headers, definitions and options are the target's.
function(ipcq_compile_handler target handler fatbin architectures)
  get_property(code GLOBAL PROPERTY IPCQ_HANDLER_CODE)
  get_property(device_code GLOBAL PROPERTY IPCQ_DEVICE_CODE)
  get_filename_component(folder "${fatbin}" DIRECTORY)
  # As ipcq-compiler has it (device_program()): the library's code first, so that macros of the file do not reach it.
  file(CONFIGURE OUTPUT "${folder}/device.cu" @ONLY CONTENT
"#include \"device/executors.cuh\"
#include \"layout/handler_arguments.hpp\"
extern \"C\" __device__ unsigned char ipcq_device_code_@device_code@ = 1;
#include \"@handler@\"
#include \"device/user_kernels.cuh\"
")
  set(flags "")
  foreach(architecture IN LISTS architectures)
    list(APPEND flags "-gencode=arch=compute_${architecture},code=sm_${architecture}")
    set(newest "${architecture}")
  endforeach()
  list(APPEND flags "-gencode=arch=compute_${newest},code=compute_${newest}")
  if(CMAKE_CUDA_HOST_COMPILER)
    list(APPEND flags "-ccbin=${CMAKE_CUDA_HOST_COMPILER}")
  endif()
  set(folders "$<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>")
  set(definitions "$<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>")
  add_custom_command(OUTPUT "${fatbin}"
    COMMAND "${CUDAToolkit_NVCC_EXECUTABLE}" -fatbin -std=c++20 -O3 --expt-relaxed-constexpr ${flags}
      -Werror=cross-execution-space-call  # else nvcc takes what stands behind such a call for unreachable
      "$<$<BOOL:${folders}>:-I$<JOIN:${folders},;-I>>" "$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},;-D>>"
      -MD -MF "${fatbin}.d" -MT "${fatbin}" -o "${fatbin}" "${folder}/device.cu"
    DEPENDS "${folder}/device.cu" DEPFILE "${fatbin}.d" VERBATIM COMMAND_EXPAND_LISTS
    COMMENT "Compiling handler ${target} for compute capabilities ${architectures}")
endfunction()

# The shared object of a handler. `fatbin`: the kernels' image, which another rule makes; empty: none. `architectures`:
# what is in it, "sm_90 compute_90".
function(ipcq_link_handler target handler fatbin architectures device_compiler)
  get_property(code GLOBAL PROPERTY IPCQ_HANDLER_CODE)
  foreach(name IN ITEMS IPCQ_DEVICE_CODE IPCQ_HOST_CODE)
    get_property(${name} GLOBAL PROPERTY ${name})
  endforeach()
  set(source "${CMAKE_CURRENT_BINARY_DIR}/${target}.handler/host.cpp")
  set(embed "")
  if(fatbin)
    set(embed "#define IPCQ_HANDLER_FATBIN \"${fatbin}\"\n")
  endif()
  file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT
"#include <host/run_handler.hpp>
#include \"@handler@\"
#include <host/table.hpp>
@embed@#define IPCQ_HANDLER_DEVICE_CODE \"@IPCQ_DEVICE_CODE@\"
#define IPCQ_HANDLER_HOST_CODE \"@IPCQ_HOST_CODE@\"
#define IPCQ_HANDLER_DEVICE_COMPILER \"@device_compiler@\"
#define IPCQ_HANDLER_ARCHITECTURES \"@architectures@\"
#include <host/library.hpp>
")
  if(fatbin)
    set_source_files_properties("${source}" PROPERTIES OBJECT_DEPENDS "${fatbin}")
  endif()
  add_library(${target} MODULE "${source}" ${ARGN})
  target_compile_features(${target} PRIVATE cxx_std_20)
  # What a handler costs is paid for each message, so it is optimised where no build type says otherwise.
  target_compile_options(${target} PRIVATE $<$<CONFIG:>:-O3>)
  target_link_options(${target} PRIVATE LINKER:-z,defs)
  set_target_properties(${target} PROPERTIES
    PREFIX lib SUFFIX .so CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON UNITY_BUILD OFF)
  get_filename_component(folder "${handler}" DIRECTORY)
  target_include_directories(${target} BEFORE PRIVATE "${code}" "${folder}")
endfunction()

function(ipcq_add_handler name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "HOST_ONLY" "" "SOURCES;CUDA_ARCHITECTURES;INCLUDES;DEFINITIONS;LIBRARIES")
  if(NOT arg_SOURCES OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ipcq_add_handler(${name}): ${arg_UNPARSED_ARGUMENTS} is none of its arguments, or SOURCES is "
      "missing: ipcq_add_handler(NAME SOURCES file.cu [CUDA_ARCHITECTURES 90...] [INCLUDES folder...] "
      "[DEFINITIONS NAME=VALUE...] [LIBRARIES target...] [HOST_ONLY])")
  endif()
  list(POP_FRONT arg_SOURCES handler)
  get_filename_component(handler "${handler}" ABSOLUTE)
  if(NOT EXISTS "${handler}")
    message(FATAL_ERROR "ipcq_add_handler(${name}): there is no file ${handler}")
  endif()
  set(fatbin "")
  set(images "")
  if(NOT arg_HOST_ONLY)
    find_package(CUDAToolkit 12.4 QUIET)
    if(CUDAToolkit_FOUND AND CUDAToolkit_NVCC_EXECUTABLE)
      set(fatbin "${CMAKE_CURRENT_BINARY_DIR}/${name}.handler/kernels.fatbin")
      set(wanted ${arg_CUDA_ARCHITECTURES})
      if(NOT wanted)
        set(wanted ${CMAKE_CUDA_ARCHITECTURES})
      endif()
      ipcq_handler_architectures(architectures "${name}" "${wanted}")
      list(TRANSFORM architectures PREPEND sm_ OUTPUT_VARIABLE images)
      list(GET architectures -1 newest)
      list(APPEND images compute_${newest})
      list(JOIN images " " images)
    else()
      message(WARNING "ipcq_add_handler(${name}): there is no CUDA toolkit of 12.4 or later, so it is for queues on the "
        "host alone; set CUDAToolkit_ROOT to one, or say HOST_ONLY")
    endif()
  endif()
  ipcq_link_handler(${name} "${handler}" "${fatbin}" "${images}" "nvcc ${CUDAToolkit_VERSION}" ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${arg_INCLUDES})
  target_compile_definitions(${name} PRIVATE ${arg_DEFINITIONS})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  if(fatbin)
    ipcq_compile_handler(${name} "${handler}" "${fatbin}" "${architectures}")
  endif()
endfunction()
