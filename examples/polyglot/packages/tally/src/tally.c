#include "tally.h"

/* White space separates words, and a line feed also ends a line. */
static int is_space(unsigned char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

void tally_count(const unsigned char *text, size_t length, struct tally *result)
{
    size_t line = 0;
    int in_word = 0;

    result->words = result->lines = result->longest_line = 0;
    for (size_t i = 0; i < length; i++) {
        int space = is_space(text[i]);
        if (!space && !in_word)
            result->words++;
        in_word = !space;
        if (text[i] == '\n') {
            result->lines++;
            line = 0;
        } else if (++line > result->longest_line) {
            result->longest_line = line;
        }
    }
}
