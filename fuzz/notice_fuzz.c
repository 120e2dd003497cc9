// room: agent/uplink
// parser: agent/uplink/notice.c
// beside: notice_renew
#include "agent/uplink/notice.h"
#include <stdlib.h>
#include <string.h>
/* What a relay tells its agents beside their policy: a chain is text, a wait is bounded, and what
 * is refused changes nothing and says why. */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct span in = span_of(data, n);
    int64_t first_retry_ms = -1;
    char words[256], *pem = NULL;
    struct buf why;

    buf_init_fixed(&why, words, sizeof(words));
    if (notice_chain(in, &pem, &why) == 0)
        CHECK(pem && strlen(pem) <= n);
    else
        CHECK(!pem && why.len);
    free(pem);
    if (notice_retry(in, &first_retry_ms) == 0)
        CHECK(first_retry_ms >= 0 && first_retry_ms <= 3600000);
    else
        CHECK(first_retry_ms == -1);
    return 0;
}
