#pragma once
#include <cstdio>

#define PX4_WARN(...) ((void)std::fprintf(stderr, __VA_ARGS__))
#define PX4_ERR(...) ((void)std::fprintf(stderr, __VA_ARGS__))
