#pragma once
#include "lib/base/span.h"
/*
 * chars.h - which bytes may stand where in HTTP/1.  For the files of this room.
 *
 * Source     RFC 9110 section 5.6.2 (token), RFC 9112 section 3.2 (targets).
 */
enum {
    CHARS_TOKEN = 1,        /* names: fields, methods, chunk extensions */
    CHARS_TARGET = 2,       /* visible ASCII without '#', which is never sent */
    CHARS_TEXT = 4,         /* field values, reason phrases: all but controls; tab is text */
    CHARS_DIGIT = 8,
};

bool chars_is(unsigned char c, unsigned wanted);
bool chars_are(struct span s, unsigned wanted);         /* true for an empty span */
char chars_fold(char c);        /* lower case, and '-' for '_': names that CGI takes for one */
bool chars_same_name(struct span a, struct span b);     /* equal when folded */
