# ipcq_default_architectures(RESULT VERSION): compute capabilities to compile for with a CUDA toolkit of that version,
# where nobody has chosen. Of each generation the first, whose code runs on the later ones of it. This file is installed.
function(ipcq_default_architectures result version)
  set(architectures 75 80 90)
  if(version VERSION_LESS 13)
    list(PREPEND architectures 70)
  endif()
  if(version VERSION_GREATER_EQUAL 12.8)
    list(APPEND architectures 100 120)
  endif()
  set(${result} ${architectures} PARENT_SCOPE)
endfunction()

# ipcq_native_architectures(RESULT): those of this machine's GPUs, by nvidia-smi; empty where that finds none.
function(ipcq_native_architectures result)
  find_program(IPCQ_NVIDIA_SMI nvidia-smi)
  set(found "")
  if(IPCQ_NVIDIA_SMI)
    execute_process(COMMAND "${IPCQ_NVIDIA_SMI}" --query-gpu=compute_cap --format=csv,noheader
      OUTPUT_VARIABLE found ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" found "${found}")
  string(REPLACE "." "" found "${found}")
  list(REMOVE_DUPLICATES found)
  list(SORT found COMPARE NATURAL)
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# ipcq_known_architectures(RESULT NVCC all|all-major): those that this nvcc compiles for and ipcq runs on, so from 7.0 on.
# all-major: of each generation x.0, and the oldest of all. Empty where nvcc does not tell.
function(ipcq_known_architectures result nvcc which)
  execute_process(COMMAND "${nvcc}" --list-gpu-arch OUTPUT_VARIABLE listed ERROR_QUIET)
  string(REGEX MATCHALL "compute_[0-9]+" listed "${listed}")
  list(TRANSFORM listed REPLACE "compute_" "")
  list(SORT listed COMPARE NATURAL)
  set(known "")
  foreach(architecture IN LISTS listed)
    if(NOT architecture LESS 70 AND (which STREQUAL "all" OR NOT known OR architecture MATCHES "0$"))
      list(APPEND known "${architecture}")
    endif()
  endforeach()
  set(${result} "${known}" PARENT_SCOPE)
endfunction()
