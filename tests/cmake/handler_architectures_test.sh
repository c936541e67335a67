#!/usr/bin/env bash
# handler_architectures_test.sh CMAKE SOURCE_DIR
#
# What ipcq_add_handler() compiles a handler for, by the words of CUDA_ARCHITECTURES. An nvcc and an nvidia-smi of this
# test's say what the toolkit knows and which GPUs there are.
set -euo pipefail

cmake=$1 source_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "handler_architectures_test: $*" >&2
  exit 1
}

mkdir "$work/gpus" "$work/none"
printf '#!/bin/sh\n[ "$1" = --list-gpu-arch ] && printf "compute_%%s\\n" 120 52 60 75 80 86 90 103 100\n' >"$work/nvcc"
printf '#!/bin/sh\nprintf "9.0\\n10.3\\n9.0\\n"\n' >"$work/gpus/nvidia-smi"
printf '#!/bin/sh\necho "No devices were found"; exit 6\n' >"$work/none/nvidia-smi"
chmod +x "$work/nvcc" "$work"/*/nvidia-smi
cat >"$work/ask.cmake" <<'CMAKE'
cmake_minimum_required(VERSION 3.22)
include(${SOURCE_DIR}/cmake/IpcqArchitectures.cmake)
include(${SOURCE_DIR}/cmake/IpcqAddHandler.cmake)
set(CUDAToolkit_VERSION 13.0)
ipcq_handler_architectures(architectures h "${WANTED}")
message(STATUS "for ${architectures}")
CMAKE

# ask SMI NVCC WANTED: sets `said`, a line, and `code`. SMI: the folder of an nvidia-smi.
ask() {
  code=0
  PATH=$work/$1:$PATH "$cmake" -DSOURCE_DIR="$source_dir" -DCUDAToolkit_NVCC_EXECUTABLE="$2" -DWANTED="$3" \
    -P "$work/ask.cmake" >"$work/said" 2>&1 || code=$?
  said=$(tr -s ' \n' ' ' <"$work/said")  # CMake breaks its lines
}
# gives WANTED NUMBERS
gives() {
  ask gpus "$work/nvcc" "$1"
  [[ $code == 0 && $said == "-- for $2 " ]] || fail "'$1' ends with $code: $said"
}
# refuses SMI NVCC WANTED TEXT
refuses() {
  ask "$1" "$2" "$3"
  [[ $code != 0 && $said == *"ipcq_add_handler(h): $4"* ]] || fail "'$3' ends with $code: $said"
}

gives "" "75;80;90;100;120"
gives "90-real;80;90-virtual;100f" "80;90;100f"
gives native "90;103"
gives "native;80" "80;90;103"
gives all "75;80;86;90;100;103;120"
gives all-major "75;80;90;100;120"
refuses none "$work/nvcc" native "'native' in CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES), 'native', is nothing to \
compile for: nvidia-smi is missing, or finds no GPU here. Give compute capabilities"
refuses gpus /bin/false all-major "'all-major' in CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES), 'all-major', is \
nothing to compile for: /bin/false --list-gpu-arch names none"
refuses gpus "$work/nvcc" "80;hopper" "'hopper' in CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES), '80;hopper', is \
nothing to compile for: it is no compute capability"
refuses gpus "$work/nvcc" 52 "'52' in CUDA_ARCHITECTURES (else CMAKE_CUDA_ARCHITECTURES), '52', is nothing to compile for: \
ipcq runs on 70 and later"
echo "handler_architectures_test: passed"
