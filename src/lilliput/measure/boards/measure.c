/* Runs the self-test, then counts the clock between one decision and many more, and the stack of one. */
#include <stdint.h>
#include <stdio.h>
#include "board.h"
#include POLICY

extern uint32_t stack_bottom;
int selftest_main(void);

#define PAINT 0x5ca1ab1eu
#define MOST_CALLS 1000u

int printf(const char *format, ...) /* the self-test's: its verdict is what it returns */
{
    (void)format;
    return 0;
}

static void print_number(const char *name, uint64_t number)
{
    char text[24];
    int i = (int)sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + (int)(number % 10));
        number /= 10;
    } while (number);
    board_print(name);
    board_print(" ");
    board_print(text + i);
    board_print("\n");
}

static INPUT observation[SIZE_OF_OBSERVATION];
static OUTPUT action[SIZE_OF_ACTION];
#if defined(STATE)
static STATE state;
#define ONE_DECISION() DECIDE(&state, observation, action)
#else
#define ONE_DECISION() DECIDE(observation, action)
#endif

static uint64_t clock_of(uint32_t calls)
{
    uint64_t before = board_clock();
    for (; calls; calls--) {
        ONE_DECISION();
    }
    return board_clock() - before;
}

/* Exactly two instructions a round. */
static uint64_t clock_of_rounds(uint32_t rounds)
{
    uint64_t before = board_clock();
#if defined(__arm__)
    __asm__ volatile(".syntax unified\n1: subs %0, #1\n bne 1b" : "+l"(rounds) : : "cc");
#else
    __asm__ volatile("1: addi %0, %0, -1\n bnez %0, 1b" : "+r"(rounds));
#endif
    return board_clock() - before;
}

static __attribute__((noinline)) uint32_t stack_used(void)
{
    uint32_t *top, *bottom, *p, words = 1u << 16;
#if defined(__arm__)
    __asm__ volatile("mov %0, sp" : "=r"(top));
#else
    __asm__ volatile("mv %0, sp" : "=r"(top));
#endif
    /* Twice what is used or more, a megabyte at first: to paint all of RISC-V's 64 takes longer than the rest. */
    do {
        words *= 4;
        bottom = words < (uint32_t)(top - &stack_bottom) ? top - words : &stack_bottom;
        for (p = bottom; p < top; p++) {
            *p = PAINT;
        }
        ONE_DECISION();
        for (p = bottom; p < top && *p == PAINT; p++) {
        }
    } while (bottom != &stack_bottom && (uint32_t)(p - bottom) < words / 2);
    return (uint32_t)((char *)top - (char *)p);
}

int main(void)
{
    uint64_t rounds, one, calls;
    board_print(selftest_main() ? "selftest failed\n" : "selftest passed\n");
#if defined(STATE)
    RESET(&state);
#endif
    board_start_clock();
    rounds = clock_of_rounds(1000001) - clock_of_rounds(1);
    one = clock_of(1);
    /* Two thousand million instructions, which the emulator runs in a minute or so. */
    calls = 1000u * rounds / (one + 1);
    calls = calls > MOST_CALLS ? MOST_CALLS : calls ? calls : 1;
    print_number("rounds_clock", rounds);
    print_number("one", one);
    print_number("calls", calls);
    print_number("many", clock_of(1 + (uint32_t)calls));
    print_number("stack", stack_used());
    return 0;
}
