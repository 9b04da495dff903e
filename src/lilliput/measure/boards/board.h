/* What a measurement needs of a board. */
#ifndef BOARD_H
#define BOARD_H
#include <stdint.h>

void board_print(const char *text);
void board_end(void);
void board_start_clock(void);
uint64_t board_clock(void);

#endif
