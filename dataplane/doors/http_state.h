#pragma once
#include "dataplane/doors/door.h"
#include "lib/http1/http1.h"
/*
 * http_state.h - the state of one HTTP visit, shared by http_door.c (heads and CONNECT)
 * and http_exchange.c (one absolute-form request and its answer).
 *
 * Threads    the worker's loop.
 */
#define EXCHANGE_IDLE_MS 600000

enum http_phase {
    HTTP_HEAD,                      /* reading a request head */
    HTTP_ASKING,                    /* it is whole; the control plane is asked about a chosen password */
    HTTP_CONNECTING,                /* a CONNECT waits for its route */
    HTTP_EXCHANGE,                  /* an absolute-form request and its answer */
    HTTP_OVER,                      /* the last answer is on its way */
};

struct http_state {
    enum http_phase phase;
    struct http1_scan scan;
    struct principal principal;
    struct route *route;            /* NULL: none */
    struct password_ask ask;        /* HTTP_ASKING */
    enum reason answer;             /* to it, where that was not REASON_NONE; has_answer: once */
    bool has_answer;
    bool keep_alive;                /* after this answer */
    bool is_reading;                /* heads are being read one after the other */
    bool has_ended;                 /* the client's FIN came */

    /* HTTP_EXCHANGE */
    bool is_open;                   /* the stream is there */
    bool is_head_request;           /* HEAD */
    char method[32];
    struct buf request_head;        /* as the target is to see it; empty once sent */
    struct http1_body request_body;
    struct buf response_head;       /* until it is whole */
    struct http1_scan response_scan;
    bool has_response;
    struct http1_body response_body;
};

/* Starts over with what is left of the input: the next request, or the end. */
void http_next_request(struct visit *v);
/* An answer of ours: status, Adit-Reason, page.  Ends the visit unless keep-alive is safe. */
void http_refuse(struct visit *v, enum reason why, struct span text, bool keep_alive);

/* The head was accepted and the user is known: opens the route. */
void exchange_start(struct visit *v, const struct http1_head *head);
void exchange_on_input(struct visit *v);
void exchange_on_sent(struct visit *v);
void exchange_on_deadline(struct visit *v);     /* nothing moved for EXCHANGE_IDLE_MS */
void exchange_deinit(struct http_state *h);
