#pragma once
#include <stdio.h>
#define DEBUG_PRINT(...) ((void)fprintf(stderr, DEBUG_MODULE ": " __VA_ARGS__))
