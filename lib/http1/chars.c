#include "lib/http1/chars.h"

#define T CHARS_TOKEN
#define U CHARS_TARGET
#define V CHARS_TEXT
static const unsigned char classes[256] = {
    ['\t'] = V, [' '] = V, [0x80 ... 0xff] = V,
    ['!'] = T | U | V, ['"'] = U | V, ['#'] = T | V, ['$' ... '\''] = T | U | V,
    ['(' ... ')'] = U | V, ['*' ... '+'] = T | U | V, [','] = U | V, ['-' ... '.'] = T | U | V,
    ['/'] = U | V, ['0' ... '9'] = T | U | V | CHARS_DIGIT, [':' ... '@'] = U | V,
    ['A' ... 'Z'] = T | U | V, ['[' ... ']'] = U | V, ['^' ... '`'] = T | U | V,
    ['a' ... 'z'] = T | U | V, ['{'] = U | V, ['|'] = T | U | V, ['}'] = U | V,
    ['~'] = T | U | V,
};
#undef T
#undef U
#undef V

bool chars_is(unsigned char c, unsigned wanted)
{
    return classes[c] & wanted;
}

bool chars_are(struct span s, unsigned wanted)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!chars_is((unsigned char)s.p[i], wanted))
            return false;
    }
    return true;
}

char chars_fold(char c)
{
    if (c == '_')
        return '-';
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool chars_same_name(struct span a, struct span b)
{
    if (a.n != b.n)
        return false;

    for (size_t i = 0; i < a.n; i++) {
        if (chars_fold(a.p[i]) != chars_fold(b.p[i]))
            return false;
    }
    return true;
}
