#include <algorithm>

unsigned saturated(unsigned value) { return std::min(value, 255u); }
