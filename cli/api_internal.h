#pragma once
#include "cli/api.h"
#include <curl/curl.h>
#include <stdio.h>
/*
 * api_internal.h - the client's own parts, for api.c and listen.c.
 */
struct api {
    CURL *curl;
    char *url;
    char authorization[256];    /* a header line; "": none */
    struct api_answer head;     /* what the head of the answer said */
    struct buf answer;
    char error[CURL_ERROR_SIZE];
};

MUST_CHECK int api_header(struct curl_slist **list, const char *line);
MUST_CHECK int api_set_url(struct api *a, const char *path);
void api_take_answer(struct api *a, struct api_answer *ret_answer);
