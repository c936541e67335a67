// Includes Relacy and GoogleTest in one source. Relacy defines new, delete and their relatives as macros, which breaks
// `= delete` in the macros of gtest. The code that it explores here allocates nothing, so these macros are undefined.
#pragma once

#include <gtest/gtest.h>

#include <relacy/relacy.hpp>

#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
