#pragma once
#include "controlplane/routes/api.h"
/*
 * lists.h - options of type LIST as the API wants them.
 *
 * Threads    pure.
 */

/* The items as strings, in place: the separators become NULs.  NULL ends them. */
void lists_split(char *list, const char *out[API_JOIN_ADDRS_MAX]);
/* A set of ROLE_BIT_…; unknown words count for nothing. */
unsigned lists_roles(const char *list);
