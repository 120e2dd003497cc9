#include "lib/base/encode.h"
#include "lib/check/check.h"
#include "lib/mux/frame.h"
#include "lib/mux/open.h"
#include <dirent.h>
#include <stdio.h>
/*
 * Reads schema/vectors/NAME.hex: what a frame's bytes mean, as text, or why they are refused.
 * Then cuts each frame that was taken at every length: no cut may be read as the whole.
 */
#define VECTORS "schema/vectors"
#define VECTOR_MAX (FRAME_HEADER_LEN + 17000)
#define TEXT_MAX 4096

struct vector {
    char it[256];
    struct buf bytes;
    char want[TEXT_MAX];
};

/* --- frames as text ------------------------------------------------------------------- */
static void say_text(struct buf *out, const char *name, struct span text)
{
    if (text.n)
        buf_printf(out, " %s=" SPAN_FMT, name, SPAN_ARG(text));
}

static const char *error_name(int e)
{
    static const char *const names[] = { "ok", "partial", "length", "stream", "value" };

    return names[e];
}

/* Tags are refused for one reason only, as far as the peer is told. */
static int as_value(int tag_error)
{
    return tag_error ? FRAME_E_VALUE : 0;
}

static int say_bytes(const struct frame *f, struct buf *out)
{
    buf_printf(out, " bytes=%zu", f->payload.n);
    return 0;
}

static int say_echo(const struct frame *f, struct buf *out)
{
    uint64_t value = 0;
    int e = frame_echo_read(f->payload, &value);

    buf_printf(out, " value=%lu", value);
    return e;
}

static void say_why_fields(const struct why *w, struct buf *out)
{
    buf_printf(out, " reason=%s", reason_text(w->reason));
    say_text(out, "text", w->text);
    if (w->ms)
        buf_printf(out, " ms=%u", w->ms);
}

static int say_why(const struct frame *f, struct buf *out)
{
    struct why w = { 0 };
    int e = as_value(why_decode(f->payload, &w));

    say_why_fields(&w, out);
    return e;
}

static int say_goaway(const struct frame *f, struct buf *out)
{
    struct mux_goaway g = { 0 };
    int e = as_value(goaway_decode(f->payload, &g));

    say_why_fields(&(struct why){ g.why, g.text, g.ms_left }, out);
    if (g.scope != MUX_SCOPE_LINK)
        buf_printf(out, " scope=session");
    if (g.retry_ms)
        buf_printf(out, " retry=%u", g.retry_ms);
    for (size_t i = 0; i < g.elsewhere_count; i++)
        buf_printf(out, "%s" SPAN_FMT, i ? "," : " elsewhere=", SPAN_ARG(g.elsewhere[i]));
    return e;
}

static int say_reset(const struct frame *f, struct buf *out)
{
    uint64_t final_offset = 0;
    struct why w = { 0 };
    int e = reset_decode(f->payload, &final_offset, &w);

    buf_printf(out, " final=%lu", final_offset);
    say_why_fields(&w, out);
    return e;
}

static int say_notice(const struct frame *f, struct buf *out)
{
    struct frame_notice n = { 0 };
    int e = frame_notice_read(f->payload, &n);

    buf_printf(out, " kind=%u revision=%lu total=%u offset=%u bytes=%zu", n.kind, n.revision,
               n.total, n.offset, n.part.n);
    return e;
}

static void say_ranges(const struct mux_open *o, struct buf *out)
{
    char text[ADDR_TEXT_MAX];

    for (size_t i = 0; i < o->range_count; i++)
        buf_printf(out, "%s%s", i ? "," : " ranges=", cidr_format(&o->ranges[i], text));
}

static int say_open(const struct frame *f, struct buf *out)
{
    struct mux_open o = { 0 };
    uint64_t limit = 0;
    int e = as_value(open_decode(f->payload, &o, &limit));

    buf_printf(out, " path=%u kind=%u host=" SPAN_FMT " port=%u limit=%lu", o.path, o.kind,
               SPAN_ARG(o.host), o.port, limit);
    buf_printf(out, " answer=%u grace=%u features=%u%s", o.answer_ms, o.grace_ms, o.features,
               o.allow_special ? " special" : "");
    for (size_t i = 0; i < o.resolve_count; i++)
        buf_printf(out, "%s" SPAN_FMT, i ? "," : " resolve=", SPAN_ARG(o.resolve_to[i]));
    say_ranges(&o, out);
    say_text(out, "trace", o.trace);
    say_text(out, "principal", o.principal);
    say_text(out, "grant", o.grant);
    say_text(out, "profile", o.profile);
    say_text(out, "entry", o.entry);
    say_text(out, "boot", o.boot_id);
    say_text(out, "tls", o.tls_name);
    if (o.hop_count)
        buf_printf(out, " hops=%u", o.hop_count);
    return e;
}

static const char *endpoint_text(const struct endpoint *e, char *mem, size_t size)
{
    return e->kind == ENDPOINT_NONE ? "none" : endpoint_format(e, mem, size);
}

static void say_tries(const struct mux_opened *o, struct buf *out)
{
    char mem[ADDR_UNIX_MAX + 16];

    say_text(out, "by", o->resolved_by);
    for (size_t i = 0; i < o->try_count; i++)
        buf_printf(out, " try=%s/%u/%s", endpoint_text(&o->tries[i].to, mem, sizeof(mem)),
                   o->tries[i].took_ms, reason_text(o->tries[i].result));
}

static int say_opened(const struct frame *f, struct buf *out)
{
    char mem[ADDR_UNIX_MAX + 16];
    struct mux_opened o = { 0 };
    uint64_t limit = 0;
    int e = as_value(opened_decode(f->payload, &o, &limit));

    say_text(out, "boot", o.boot_id);
    buf_printf(out, " limit=%lu features=%u", limit, o.features);
    if (o.used.kind)
        buf_printf(out, " used=%s", endpoint_text(&o.used, mem, sizeof(mem)));
    say_tries(&o, out);
    return e;
}

static int say_refused(const struct frame *f, struct buf *out)
{
    struct mux_opened o = { 0 };
    struct why w = { 0 };
    int e = as_value(refused_decode(f->payload, &w, &o));

    say_why_fields(&w, out);
    say_text(out, "boot", o.boot_id);
    say_tries(&o, out);
    return e;
}

static int say_data(const struct frame *f, struct buf *out)
{
    struct frame_data d = { 0 };
    int e = frame_data_read(f->payload, &d);

    buf_printf(out, " offset=%lu bytes=%zu", d.offset, d.bytes.n);
    return e;
}

static int say_credit(const struct frame *f, struct buf *out)
{
    struct frame_credit c = { 0 };
    int e = frame_credit_read(f->payload, &c);

    buf_printf(out, " limit=%lu received=%lu", c.limit, c.received);
    return e;
}

static int say_fin(const struct frame *f, struct buf *out)
{
    uint64_t final_offset = 0;
    int e = frame_fin_read(f->payload, &final_offset);

    buf_printf(out, " final=%lu", final_offset);
    return e;
}

static int say_end(const struct frame *f, struct buf *out)
{
    (void)out;
    return frame_end_read(f->payload);
}

static int say_attach(const struct frame *f, struct buf *out)
{
    struct frame_attach a = { 0 };
    int e = frame_attach_read(f->payload, &a);

    buf_printf(out, " path=%u received=%lu limit=%lu fin=%d", a.path, a.received, a.limit,
               a.is_fin_seen);
    say_text(out, "boot", a.boot_id);
    if (a.ticket.n)
        buf_printf(out, " ticket=%zu", a.ticket.n);
    if (a.hop_count)
        buf_printf(out, " hops=%u", a.hop_count);
    return e;
}

static const struct {
    uint8_t type;
    bool is_fixed;              /* no cut of the payload is a payload */
    int (*say)(const struct frame *, struct buf *);
} sayers[] = {
    { FRAME_HELLO, false, say_bytes },     { FRAME_PING, false, say_echo },
    { FRAME_PONG, false, say_echo },       { FRAME_GOAWAY, false, say_goaway },
    { FRAME_NOTICE, false, say_notice },   { FRAME_OPEN, false, say_open },
    { FRAME_OPEN_OK, false, say_opened },  { FRAME_OPEN_ERR, false, say_refused },
    { FRAME_DATA, false, say_data },       { FRAME_CREDIT, true, say_credit },
    { FRAME_FIN, true, say_fin },          { FRAME_RESET, false, say_reset },
    { FRAME_END, true, say_end },          { FRAME_ATTACH, false, say_attach },
    { FRAME_ATTACH_OK, false, say_attach }, { FRAME_ATTACH_ERR, false, say_why },
    { FRAME_DETACH, false, say_why },      { FRAME_DATAGRAM, false, say_bytes },
};

static int say_payload(const struct frame *f, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(sayers); i++) {
        if (sayers[i].type == f->type)
            return sayers[i].say(f, out);
    }
    return say_bytes(f, out);
}

static void say_frame(struct span bytes, struct buf *out)
{
    struct frame f;
    int e = frame_read(bytes, &f);

    if (!e) {
        buf_printf(out, "%s", frame_name(f.type));
        if (*frame_name(f.type) == '?')
            buf_printf(out, " type=%02x", f.type);
        buf_printf(out, " flags=%02x", f.flags);
        if (f.type & FRAME_BIT_STREAM)
            buf_printf(out, " stream=%u", f.stream);
        e = say_payload(&f, out);
    }
    if (e) {
        buf_clear(out);
        buf_printf(out, "refused %s", error_name(e));
    }
}

/* --- vectors -------------------------------------------------------------------------- */
/* "00ff 07*12": pairs of digits; one pair with a count stands for many. */
static void add_hex(struct buf *bytes, struct span word)
{
    struct span head;
    uint64_t times = 1;
    size_t before = bytes->len;

    assert_true(span_cut(&word, '*', &head));
    if (word.n)
        assert_true(span_to_u64(word, VECTOR_MAX, &times));
    assert_true(hex_decode(head, bytes));
    while (--times)
        buf_put_u8(bytes, bytes->data[before]);
    assert_int_equal(buf_error(bytes), 0);
}

static bool line_value(struct span line, const char *key, struct span *ret_value)
{
    if (!span_starts(line, span_str(key)))
        return false;
    *ret_value = span_skip(line, strlen(key));
    return true;
}

static struct span line_of(char *line)
{
    return span_first(span_str(line), strcspn(line, "\n"));
}

/* The next vector of the file; false at its end. */
static bool vector_read(FILE *file, struct vector *v)
{
    static char line[TEXT_MAX];
    struct span value, word;

    buf_clear(&v->bytes);
    while (fgets(line, sizeof(line), file)) {
        if (line_value(line_of(line), "it: ", &value))
            assert_true(span_copy(value, v->it, sizeof(v->it)));
        if (line_value(line_of(line), "hex: ", &value)) {
            while (span_cut(&value, ' ', &word)) {
                if (word.n)
                    add_hex(&v->bytes, word);
            }
        }
        if (line_value(line_of(line), "want: ", &value)) {
            assert_true(span_copy(value, v->want, sizeof(v->want)));
            return true;
        }
    }
    return false;
}

/* In memory of exactly that size, so that a sanitizer sees a read behind it. */
static void say_exactly(struct span bytes, struct buf *out)
{
    char *copy = malloc(bytes.n ? bytes.n : 1);

    if (bytes.n)
        memcpy(copy, bytes.p, bytes.n);
    buf_clear(out);
    say_frame(span_of(copy, bytes.n), out);
    free(copy);
}

static bool is_fixed(uint8_t type)
{
    for (size_t i = 0; i < ARRAY_LEN(sayers); i++) {
        if (sayers[i].type == type)
            return sayers[i].is_fixed;
    }
    return false;
}

/* The payload cut at every length, under a header that says so. */
static void check_cuts(const struct vector *v, struct buf *out)
{
    unsigned char *bytes = v->bytes.data;

    for (size_t n = FRAME_HEADER_LEN; n < v->bytes.len && n < 600; n++) {
        bytes[2] = (unsigned char)((n - FRAME_HEADER_LEN) >> 8);
        bytes[3] = (unsigned char)(n - FRAME_HEADER_LEN);
        say_exactly(span_of(bytes, n), out);
        if (is_fixed(bytes[0]))
            assert_string_equal(buf_text(out), "refused length");
    }
}

static unsigned check_file(const char *path)
{
    struct vector v = { 0 };
    struct buf out;
    FILE *file = fopen(path, "r");
    unsigned count = 0;

    assert_non_null(file);
    buf_init_heap(&v.bytes, VECTOR_MAX);
    buf_init_heap(&out, TEXT_MAX);
    while (vector_read(file, &v)) {
        check_row(v.it);
        say_exactly(buf_span(&v.bytes), &out);
        assert_string_equal(buf_text(&out), v.want);
        if (!span_starts(span_str(v.want), SPAN("refused")))
            check_cuts(&v, &out);
        count++;
    }
    buf_deinit(&v.bytes);
    buf_deinit(&out);
    fclose(file);
    return count;
}

static void test_vectors(void **state)
{
    DIR *dir = opendir(VECTORS);
    struct dirent *entry;
    unsigned files = 0;

    (void)state;
    assert_non_null(dir);       /* the tests are started from the project's root */
    while ((entry = readdir(dir))) {
        char path[512];

        if (!span_ends(span_str(entry->d_name), SPAN(".hex")))
            continue;
        snprintf(path, sizeof(path), VECTORS "/%s", entry->d_name);
        print_message("%s\n", path);
        assert_true(check_file(path) > 0);
        files++;
    }
    closedir(dir);
    assert_int_equal(files, ARRAY_LEN(sayers) + 1);     /* one a type, one for the header */
}

/* Every single bit of every good frame flipped: read or refused, never beyond the bytes. */
static void test_flips(void **state)
{
    struct vector v = { 0 };
    struct buf out;
    FILE *file = fopen(VECTORS "/open.hex", "r");

    (void)state;
    assert_non_null(file);
    buf_init_heap(&v.bytes, VECTOR_MAX);
    buf_init_heap(&out, 1 << 20);
    while (vector_read(file, &v)) {
        for (size_t i = 0; i < v.bytes.len * 8 && i < 4096; i++) {
            v.bytes.data[i / 8] ^= (unsigned char)(1u << i % 8);
            say_exactly(buf_span(&v.bytes), &out);
            v.bytes.data[i / 8] ^= (unsigned char)(1u << i % 8);
        }
        say_exactly(buf_span(&v.bytes), &out);
        assert_string_equal(buf_text(&out), v.want);
    }
    buf_deinit(&v.bytes);
    buf_deinit(&out);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
