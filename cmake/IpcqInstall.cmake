# Install rules (libraries, headers, CMake package, pkg-config file) and the Debian package.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/ipcq")

# ipcq::cuda, and the header that promises it, only where they were built.
set(ipcq_cuda_target "")
set(ipcq_headers_left_out PATTERN "cuda.hpp" EXCLUDE)
if(IPCQ_WITH_CUDA)
  set(ipcq_cuda_target ipcq_cuda)
  set(ipcq_headers_left_out "")
endif()
install(TARGETS ipcq ipcq_static ${ipcq_cuda_target} EXPORT ipcqTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY libipcq/include/ipcq "${PROJECT_BINARY_DIR}/libipcq/include/ipcq"
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.hpp" PATTERN "*.h"
  ${ipcq_headers_left_out})
install(EXPORT ipcqTargets NAMESPACE ipcq:: DESTINATION ${package_dir})

# Where find_package does not look: of a folder PREFIX/bin on PATH it searches PREFIX, so that programs that are run from
# a build would bring in a package without targets, before the one that is installed.
set(generated_dir "${PROJECT_BINARY_DIR}/CMakeFiles/ipcq-package")
set(handler_code_dir "${CMAKE_INSTALL_DATADIR}/ipcq/handler-code")
configure_package_config_file(cmake/ipcqConfig.cmake.in "${generated_dir}/ipcqConfig.cmake"
  INSTALL_DESTINATION ${package_dir} PATH_VARS handler_code_dir)
write_basic_package_version_file("${generated_dir}/ipcqConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${generated_dir}/ipcqConfig.cmake" "${generated_dir}/ipcqConfigVersion.cmake"
  cmake/IpcqAddHandler.cmake cmake/IpcqArchitectures.cmake DESTINATION ${package_dir})
install(DIRECTORY "${IPCQ_HANDLER_CODE}/" DESTINATION ${handler_code_dir})
# What builds made before lay in the wrong place.
file(REMOVE "${PROJECT_BINARY_DIR}/ipcqConfig.cmake" "${PROJECT_BINARY_DIR}/ipcqConfigVersion.cmake")

# The .pc file names its prefix relative to itself, so that an installed tree can be moved.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
  set(pc_libdir "${CMAKE_INSTALL_FULL_LIBDIR}")
  set(pc_includedir "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
else()
  file(RELATIVE_PATH pc_up "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
  string(REGEX REPLACE "/$" "" pc_up "${pc_up}")
  set(pc_prefix "\${pcfiledir}/${pc_up}")
  set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
set(pc_libs_private "-pthread")
if(NOT IPCQ_LIBC_HAS_SHM_OPEN)
  string(APPEND pc_libs_private " -lrt")
endif()
configure_file(cmake/ipcq.pc.in "${generated_dir}/ipcq.pc" @ONLY)
install(FILES "${generated_dir}/ipcq.pc" DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# All that the README links to.
install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)
install(DIRECTORY docs examples DESTINATION ${CMAKE_INSTALL_DOCDIR} OPTIONAL)

if(PROJECT_IS_TOP_LEVEL)
  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_NAME ipcq)
  set(CPACK_PACKAGE_VENDOR "libipcq")
  set(CPACK_PACKAGE_CONTACT "libipcq maintainers <libipcq@localhost>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Multi-process shared-memory message queue: library and programs")
  set(CPACK_PACKAGE_DIRECTORY "${PROJECT_BINARY_DIR}/package")
  set(CPACK_STRIP_FILES ON)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libs)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${PROJECT_BINARY_DIR}/libipcq")
  set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
  include(CPack)
endif()
