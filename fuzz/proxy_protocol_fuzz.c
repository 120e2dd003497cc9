// room: dataplane/doors
// parser: dataplane/doors/proxy_protocol.c
#include "dataplane/doors/proxy_protocol.h"
/*
 * Byte by byte a PROXY header gives the same answer as all at once.
 */
#define CHECK(condition) do { if (!(condition)) __builtin_trap(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct proxy_protocol whole = { 0 }, split = { 0 };
    struct span in = span_of(data, n);
    int r = proxy_protocol_parse(in, &whole), r_split = PROXY_PROTOCOL_E_MORE;

    for (size_t have = 0; have <= n && r_split == PROXY_PROTOCOL_E_MORE; have++)
        r_split = proxy_protocol_parse(span_first(in, have), &split);
    CHECK(r == r_split && r >= 0 && r < PROXY_PROTOCOL_E_COUNT);
    CHECK(whole.bytes == split.bytes && whole.bytes <= n && whole.bytes <= PROXY_PROTOCOL_V2_MAX);
    CHECK(whole.source.kind == split.source.kind && whole.source.port == split.source.port);
    CHECK(addr_eq(&whole.source.addr, &split.source.addr));
    CHECK(whole.source.kind != ENDPOINT_UNIX && whole.is_local == split.is_local);
    return 0;
}
