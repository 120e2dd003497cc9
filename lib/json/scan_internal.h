#pragma once
#include "lib/json/json.h"
/*
 * scan_internal.h - bounds that the parser has not, checked before it allocates anything.
 *
 * Looks at brackets, commas and strings only; whether the text is JSON the parser says.
 */
#define JSON_DEPTH_MAX 32
#define JSON_MEMBERS_MAX 1024   /* of one object */

bool json_scan_limits(struct span text, struct json_error *reterr);
