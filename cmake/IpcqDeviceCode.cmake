# The sources that ipcq-compiler has in it, as text, and the names of what they are: IPCQ_DEVICE_CODE for a GPU,
# IPCQ_HOST_CODE for the host. Each is the beginning of a hash over the contents. A handler's image tells by it with
# which code it was made. ipcq_add_handler() compiles the same text, from the folder IPCQ_HANDLER_CODE, which is also
# installed. To be included behind libipcq, which writes version.hpp.
set(IPCQ_DEVICE_HEADERS
  compiler/device/c_handler.hpp
  compiler/device/cmath.cuh
  compiler/device/cstddef.cuh
  compiler/device/cstdint.cuh
  compiler/device/cstring.cuh
  compiler/device/element_handler.hpp
  compiler/device/named_handler.hpp
  compiler/device/quick_call.cuh
  compiler/device/quick_handler.cuh
  compiler/device/user_handler.cuh
  compiler/device/user_kernels.cuh
  libipcq/cuda/device/call.cuh
  libipcq/cuda/device/dispatch.cuh
  libipcq/cuda/device/executors.cuh
  libipcq/cuda/device/handle.cuh
  libipcq/cuda/device/line.cuh
  libipcq/cuda/device/memory.cuh
  libipcq/cuda/device/persistent.cuh
  libipcq/cuda/device/stream.cuh
  libipcq/cuda/device/worker.cuh
  libipcq/include/ipcq/export.hpp
  libipcq/include/ipcq/flat.hpp
  libipcq/include/ipcq/for_each.hpp
  libipcq/include/ipcq/handler.h
  libipcq/include/ipcq/handler.hpp
  libipcq/include/ipcq/records.hpp
  libipcq/include/ipcq/tensor.hpp
  libipcq/src/layout/bits.hpp
  libipcq/src/layout/executor_memory.hpp
  libipcq/src/layout/handle_records.hpp
  libipcq/src/layout/handler_arguments.hpp
  libipcq/src/layout/limits.hpp
  libipcq/src/layout/line_format.hpp
  libipcq/src/layout/queue_view.hpp
  libipcq/src/layout/verdict.hpp)
set(IPCQ_HOST_HEADERS
  compiler/device/c_handler.hpp
  compiler/device/named_handler.hpp
  compiler/host/library.hpp
  compiler/host/run_handler.hpp
  compiler/host/table.hpp
  libipcq/include/ipcq/export.hpp
  libipcq/include/ipcq/flat.hpp
  libipcq/include/ipcq/for_each.hpp
  libipcq/include/ipcq/handler.h
  libipcq/include/ipcq/handler.hpp
  libipcq/include/ipcq/records.hpp
  libipcq/include/ipcq/tensor.hpp
  libipcq/src/layout/abi.hpp
  libipcq/src/layout/handler_arguments.hpp
  libipcq/src/layout/handler_stamp.hpp
  libipcq/src/layout/host_image.hpp)

# ipcq_name_code(HEADERS CODE): makes the paths of the list HEADERS absolute, with version.hpp behind them, and sets CODE.
# What changes one of the files configures anew.
function(ipcq_name_code headers code)
  set(paths)
  set(contents "")
  foreach(header IN ITEMS ${${headers}} "${PROJECT_BINARY_DIR}/libipcq/include/ipcq/version.hpp")
    get_filename_component(path "${header}" ABSOLUTE BASE_DIR "${PROJECT_SOURCE_DIR}")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${path}")
    list(APPEND paths "${path}")
    file(READ "${path}" content)
    string(APPEND contents "${content}")
  endforeach()
  string(SHA256 hash "${contents}")
  string(SUBSTRING "${hash}" 0 16 hash)
  set(${headers} "${paths}" PARENT_SCOPE)
  set(${code} "${hash}" PARENT_SCOPE)
endfunction()
ipcq_name_code(IPCQ_DEVICE_HEADERS IPCQ_DEVICE_CODE)
ipcq_name_code(IPCQ_HOST_HEADERS IPCQ_HOST_CODE)

# As it is included: device/executors.cuh, layout/bits.hpp.
function(ipcq_name_included result path)
  string(REGEX REPLACE ".*/(device|host|ipcq|layout)/" "\\1/" name "${path}")
  set(${result} "${name}" PARENT_SCOPE)
endfunction()

# What stands for headers of the standard library is for NVRTC alone.
set(IPCQ_HANDLER_CODE "${PROJECT_BINARY_DIR}/handler-code")
foreach(path IN LISTS IPCQ_DEVICE_HEADERS IPCQ_HOST_HEADERS)
  ipcq_name_included(name "${path}")
  if(NOT name MATCHES "^device/c(math|st.*)\\.cuh$")
    configure_file("${path}" "${IPCQ_HANDLER_CODE}/${name}" COPYONLY)
  endif()
endforeach()

# Where ipcq_add_handler() finds them, in whichever folder of a project it is called.
foreach(name IN ITEMS IPCQ_HANDLER_CODE IPCQ_DEVICE_CODE IPCQ_HOST_CODE)
  set_property(GLOBAL PROPERTY ${name} "${${name}}")
endforeach()
