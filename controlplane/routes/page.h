#pragma once
#include "lib/base/span.h"
/*
 * page.h - what the binary carries: the contract and its page.
 *
 * Threads    constants.
 */
struct page {
    const char *path, *operation, *content_type;
    const char *text;           /* NULL: the page of reason codes, made when it is asked for */
    size_t len;
};

const struct page *page_at(size_t i);                   /* NULL past the last */
/* The contract as JSON. */
struct span page_contract(void);
