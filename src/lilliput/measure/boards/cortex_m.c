/* What a Cortex-M needs before main, and what the emulator gives: text, an end, and a count of instructions. */
#include <stdint.h>
#include "board.h"

extern uint32_t stack_top, stack_bottom, data_begin, data_end, data_stored, bss_begin, bss_end;
int main(void);

#define SYSTICK_CONTROL (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RELOAD (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_VALUE (*(volatile uint32_t *)0xe000e018u)
#define COPROCESSORS (*(volatile uint32_t *)0xe000ed88u)

static volatile uint32_t turns;

static uint32_t semihosting(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void board_print(const char *text)
{
    semihosting(0x04, text); /* SYS_WRITE0 */
}

void board_end(void)
{
    semihosting(0x18, (const void *)0x20026u); /* SYS_EXIT: the application has ended */
    for (;;) {
    }
}

void board_start_clock(void)
{
    SYSTICK_RELOAD = 0xffffffu;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7; /* on, with an interrupt at zero, from the processor's clock */
    while (SYSTICK_VALUE == 0) { /* until it has taken up the reload value */
    }
    turns = 0;
}

uint64_t board_clock(void)
{
    uint32_t before, value;
    do {
        before = turns;
        value = SYSTICK_VALUE;
    } while (before != turns);
    return (uint64_t)before * 0x1000000u + (0xffffffu - value);
}

static void systick(void)
{
    turns++;
}

static void fault(void)
{
    board_print("fault\n");
    board_end();
}

static void reset(void)
{
    uint32_t *from = &data_stored, *to;
    for (to = &data_begin; to < &data_end;) {
        *to++ = *from++;
    }
    for (to = &bss_begin; to < &bss_end;) {
        *to++ = 0;
    }
#if defined(__ARM_FP)
    COPROCESSORS |= 0xfu << 20; /* the floating-point unit */
    __asm__ volatile("dsb\n isb");
#endif
    main();
    board_end();
}

__attribute__((section(".vectors"), used)) static const void *const vectors[16] = {
    &stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault, 0, 0, 0, 0,
    (void *)fault, (void *)fault, 0, (void *)fault, (void *)systick,
};
