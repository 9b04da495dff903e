/* What a bare RISC-V needs before main, and what the emulator gives: text, an end, and a count of instructions. */
#include <stdint.h>
#include "board.h"

extern uint32_t bss_begin, bss_end;
int main(void);

#define UART (*(volatile uint8_t *)0x10000000u)
#define TEST (*(volatile uint32_t *)0x100000u)

void board_print(const char *text)
{
    while (*text) {
        UART = (uint8_t)*text++;
    }
}

void board_end(void)
{
    TEST = 0x5555;
    for (;;) {
    }
}

void board_start_clock(void)
{
}

uint64_t board_clock(void)
{
    uint32_t low, high, again;
    do {
        __asm__ volatile("csrr %0, minstreth\n csrr %1, minstret\n csrr %2, minstreth" : "=r"(high), "=r"(low), "=r"(again));
    } while (high != again);
    return (uint64_t)high << 32 | low;
}

__attribute__((used)) static void run(void)
{
    uint32_t *to;
    for (to = &bss_begin; to < &bss_end;) {
        *to++ = 0;
    }
#if defined(__riscv_flen)
    __asm__ volatile("li t0, 0x6000\n csrs mstatus, t0" ::: "t0"); /* the floating-point unit */
#endif
    main();
    board_end();
}

__attribute__((section(".vectors"), naked, used)) void start(void)
{
    __asm__ volatile("la sp, stack_top\n tail run");
}
