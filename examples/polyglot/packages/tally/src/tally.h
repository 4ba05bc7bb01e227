#ifndef TALLY_H
#define TALLY_H

#include <stddef.h>

struct tally {
    size_t words;
    size_t lines;
    size_t longest_line;
};

/* Counts what stands in `length` bytes of `text`. */
void tally_count(const unsigned char *text, size_t length, struct tally *result);

#endif
