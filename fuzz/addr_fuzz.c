// room: lib/base
// parser: lib/base/addr.c lib/base/endpoint.c
/* Addresses, prefixes, endpoints, authorities, names: what is taken is canonical when written. */
#include "lib/base/addr.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n);

static void must(bool is_so)
{
    if (!is_so)
        abort();
}

static void check_addr(struct span text)
{
    struct addr a, again;
    char mem[ADDR_TEXT_MAX];

    if (!addr_parse(text, &a))
        return;
    must(addr_parse(span_str(addr_format(&a, mem)), &again) && addr_eq(&a, &again));
    a = addr_unwrap(&a);
    again = addr_unwrap(&a);
    must(addr_is_v4(&again) == addr_is_v4(&a));
}

static void check_cidr(struct span text)
{
    struct cidr c, again;
    char mem[ADDR_TEXT_MAX];

    if (!cidr_parse(text, &c))
        return;
    must(cidr_parse(span_str(cidr_format(&c, mem)), &again));
    must(addr_eq(&c.base, &again.base) && c.bits == again.bits && cidr_has(&c, &c.base));
}

static void check_endpoint(struct span text)
{
    struct endpoint e, again;
    char mem[256], mem_again[256];

    if (!endpoint_parse(text, &e))
        return;
    must(endpoint_parse(span_str(endpoint_format(&e, mem, sizeof(mem))), &again));
    must(span_eq(span_str(mem), span_str(endpoint_format(&again, mem_again, sizeof(mem_again)))));
}

static void check_names(struct span text)
{
    char name[254], again[254];
    struct addr a;
    struct span host;
    uint16_t port;

    if (authority_parse(text, 0, &host, &port))
        must(host.n && port && host.p >= text.p && host.p + host.n <= text.p + text.n);
    if (!host_canonical(text, name))
        return;
    must(!addr_parse(span_str(name), &a));
    must(host_canonical(span_str(name), again) && span_eq(span_str(name), span_str(again)));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t n)
{
    struct span text = span_of(data, n);

    check_addr(text);
    check_cidr(text);
    check_endpoint(text);
    check_names(text);
    return 0;
}
