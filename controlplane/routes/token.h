#pragma once
/*
 * token.h - under what an API token's secrets are kept: the present one, and for a while the one
 * before (until the token's previous_until).
 */
#define TOKEN_PURPOSE "api-token"
#define TOKEN_PREVIOUS "api-token.previous"
