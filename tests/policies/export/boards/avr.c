/* An ATmega328P: runs the self-test, then one decision on a painted stack; prints both to the serial port. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdint.h>
#include POLICY

extern uint8_t _end;
#define PAINT 0xa5

static void print(const char *text)
{
    for (; *text; text++) {
        while (!(UCSR0A & (1 << UDRE0))) {
        }
        UDR0 = (uint8_t)*text;
    }
}

static void print_number(const char *name, uint16_t number)
{
    char text[7];
    uint8_t i = sizeof text - 1;
    text[i] = 0;
    do {
        text[--i] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    print(name);
    print(" ");
    print(text + i);
    print("\n");
}

static INPUT observation[SIZE_OF_OBSERVATION];
static OUTPUT action[SIZE_OF_ACTION];
#if defined(STATE) /* what an actor with a memory remembers */
static STATE state;
#define DECISION DECIDE(&state, observation, action)
#else
#define DECISION DECIDE(observation, action)
#endif

static __attribute__((noinline)) uint16_t stack_used(void)
{
    uint8_t *const top = (uint8_t *)SP, *p; /* the first byte that is free */
    for (p = &_end; p <= top; p++) {
        *p = PAINT;
    }
    DECISION;
    for (p = &_end; p <= top && *p == PAINT; p++) {
    }
    return (uint16_t)(top + 1 - p);
}

int main(void)
{
    UCSR0B = 1 << TXEN0;
    print_number("wrong", (uint16_t)SELFTEST());
    print_number("stack", stack_used());
    cli();
    sleep_enable();
    sleep_cpu();
    return 0;
}
