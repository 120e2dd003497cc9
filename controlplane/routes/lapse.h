#pragma once
#include "lib/json/json.h"
/*
 * lapse.h - who logs in by an identity provider has to do so now and then, or his proxy credentials
 * and API tokens lapse: whom the provider knows no more is out after LAPSE_MS.
 *
 * Units      Unix milliseconds.
 */
#define LAPSE_MS (7LL * 24 * 3600 * 1000)

/* When the credentials of the user with this document end; 0: never; 1: they do not count yet. */
int64_t lapse_at(const struct json_value *user);
/* The earlier of two ends; 0 is none. */
int64_t lapse_earlier(int64_t a_ms, int64_t b_ms);
