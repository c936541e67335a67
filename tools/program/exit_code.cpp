#include "program/exit_code.hpp"

#include <cerrno>
#include <exception>
#include <ipcq/error.hpp>
#include <new>

#include "program/logging.hpp"

namespace ipcq::program {
namespace {

int report(const std::exception& error, int code) noexcept {
  log::error("{}", error.what());
  return code;
}

}  // namespace

int report_current_exception() noexcept {
  try {
    throw;
  } catch (const Failure& error) {
    return report(error, error.code());
  } catch (const UsageError& error) {
    return report(error, kUsage);
  } catch (const NotFoundError& error) {
    return report(error, kNotFound);
  } catch (const PermissionError& error) {
    return report(error, kPermission);
  } catch (const BackendError& error) {
    return report(error, kBackend);
  } catch (const SystemError& error) {
    return report(error, error.code() == EACCES || error.code() == EPERM ? kPermission : kFailure);
  } catch (const std::bad_alloc&) {
    log::error("out of memory");
    return kFailure;
  } catch (const std::exception& error) {
    return report(error, kFailure);
  } catch (...) {
    log::error("unknown error");
    return kFailure;
  }
}

}  // namespace ipcq::program
