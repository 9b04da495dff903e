#include "core.h"

/* Columns of a block that are decoded at a time: few where working memory is short. */
#if defined(__SSE2__) || defined(__aarch64__)
#define TILE_COLUMNS 64
#else
#define TILE_COLUMNS 8
#endif
#define TILE (TILE_COLUMNS * MOST_ROWS)
