// <cstring> for NVRTC, which brings none: copies, as far as device code of handlers needs it.
#pragma once
#include <cstddef>
namespace std {
using ::memcpy;
using ::memset;
}  // namespace std
