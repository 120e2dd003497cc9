#include "lib/config/option.h"

#define WORD_MAX 64
#define DISTANCE_MAX 3

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein's distance of two words of at most WORD_MAX bytes, row by row. */
static size_t distance(struct span a, struct span b)
{
    size_t row[WORD_MAX + 1];

    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 0; i < a.n; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t j = 0; j < b.n; j++) {
            size_t above = row[j + 1];

            row[j + 1] = min3(above + 1, row[j] + 1, diagonal + (a.p[i] != b.p[j]));
            diagonal = above;
        }
    }
    return row[b.n];
}

const char *option_nearest(struct span word, const char *const *known, size_t count)
{
    size_t best = DISTANCE_MAX + 1;
    const char *nearest = NULL;

    for (size_t i = 0; i < count && word.n <= WORD_MAX; i++) {
        struct span candidate = span_str(known[i]);
        size_t d = candidate.n <= WORD_MAX ? distance(word, candidate) : best;

        if (d < best && d < candidate.n) {      /* not every letter is wrong */
            best = d;
            nearest = known[i];
        }
    }
    return nearest;
}
