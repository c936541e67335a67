// Relacy and GoogleTest in one source. Relacy redefines new, delete and their kin as macros, which breaks `= delete` in
// the macros of gtest; the code that it explores here allocates nothing, so the macros go.
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
