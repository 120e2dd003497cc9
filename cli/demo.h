#pragma once
#include "cli/api.h"
/*
 * demo.h - the objects of the demo, made over the REST API like anyone would.
 *
 * User demo, agent group demo (every agent labelled demo=yes), a profile and an override for
 * DEMO_HOST, a grant, a proxy credential.  What exists is left as it is.
 *
 * Threads    one.
 * Errors     -errno with a sentence in reterr.
 */
#define DEMO_HOST "hello.demo.internal"
#define DEMO_PORT 80
#define DEMO_USER "demo"
#define DEMO_AGENT "demo-agent"
#define DEMO_GRANT "hello-demo"

MUST_CHECK int demo_make_objects(struct api *a, const char *socket_path, struct buf *reterr);
/* Writes a curl configuration (0600) with a proxy credential, unless the file is there and
 * its credential still stands. */
MUST_CHECK int demo_make_credential(struct api *a, const char *proxy_address, const char *ca_file,
                                    const char *curlrc_path, struct buf *reterr);
/* Fetches the page as the hint on the screen does: true when it came. */
bool demo_page_comes(const char *proxy_address, const char *curlrc_path);
/* A join token for one newcomer, into `out`. */
MUST_CHECK int demo_make_join_token(struct api *a, struct span body, struct buf *out,
                                    struct buf *reterr);
