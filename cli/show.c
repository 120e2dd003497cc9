#include "cli/show.h"

#include "cli/terminal.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CELL_MAX ((size_t)4096)
#define GAP 2
#define NARROW 8                /* no column gets narrower */

/* ---- one value ---- */
static void put_members(const struct json_value *object, struct buf *out)
{
    for (size_t i = 0; i < json_count(object); i++) {
        struct span key;
        const struct json_value *value = json_member(object, i, &key);

        buf_printf(out, "%s" SPAN_FMT "=", i ? "," : "", SPAN_ARG(key));
        show_value(value, out);
    }
}

void show_value(const struct json_value *value, struct buf *out)
{
    struct span text;

    switch (value ? json_kind_of(value) : JSON_IS_NULL) {
    case JSON_IS_NULL:
        buf_put_str(out, "-");
        return;
    case JSON_IS_STR:
        json_as_str(value, &text);
        buf_put_span(out, text.n ? text : SPAN("-"));
        return;
    case JSON_IS_ARRAY:
        for (size_t i = 0; i < json_count(value); i++) {
            if (i)
                buf_put_str(out, ",");
            show_value(json_at(value, i), out);
        }
        if (!json_count(value))
            buf_put_str(out, "-");
        return;
    case JSON_IS_OBJECT:
        put_members(value, out);
        if (!json_count(value))
            buf_put_str(out, "-");
        return;
    case JSON_IS_BOOL:
    case JSON_IS_INT:
    case JSON_IS_REAL:
        json_print(value, out);
        return;
    }
}

/* "actor.name" */
static const struct json_value *at_path(const struct json_value *object, struct span path)
{
    struct span part;
    char key[64];

    while (object && json_kind_of(object) == JSON_IS_OBJECT && span_cut(&path, '.', &part)) {
        if (!span_copy(part, key, sizeof(key)))
            return NULL;
        object = json_get(object, key);
        if (!path.n)
            return object;
    }
    return NULL;
}

static const struct json_value *cell_of(const struct json_value *row, struct span column)
{
    const struct json_value *name;
    char key[72];

    snprintf(key, sizeof(key), SPAN_FMT "_name", SPAN_ARG(span_first(column, 60)));
    name = at_path(row, span_str(key));
    return name && json_kind_of(name) == JSON_IS_STR ? name : at_path(row, column);
}

/* ---- text that cannot move the cursor, measured in characters ---- */
static void clean(struct buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        unsigned char c = text->data[i];
        bool is_c1 = c == 0xc2 && i + 1 < text->len && text->data[i + 1] < 0xa0;

        if (c < ' ' || c == 0x7f || is_c1)
            text->data[i] = '?';
        if (is_c1)
            text->data[i + 1] = '?';
    }
}

static bool is_start(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

static size_t width_of(struct span text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.n; i++)
        width += is_start(text.p[i]);
    return width;
}

static struct span cut_to(struct span text, size_t width)
{
    size_t i = 0;

    for (size_t seen = 0; i < text.n; i++) {
        if (is_start(text.p[i]) && seen++ == width)
            break;
    }
    return span_first(text, i);
}

static void cell_text(const struct json_value *row, struct span column, struct buf *out)
{
    buf_clear(out);
    show_value(cell_of(row, column), out);
    if (buf_error(out)) {
        buf_clear(out);
        buf_put_str(out, "(long)");
    }
    clean(out);
}

/* ---- the table ---- */
static size_t terminal_width(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO))
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

void show_table_init(struct show_table *table, const char *columns)
{
    struct span rest = span_str(columns);

    *table = (struct show_table){ 0 };
    while (rest.n && table->count < SHOW_COLUMNS_MAX) {
        size_t n = 0;

        while (n < rest.n && rest.p[n] != ' ' && rest.p[n] != ',')
            n++;
        if (n)
            table->columns[table->count++] = span_first(rest, n);
        rest = span_skip(rest, n < rest.n ? n + 1 : n);
    }
}

/* The widest columns give way until all fit. */
static void squeeze(struct show_table *table)
{
    size_t room = terminal_width(), sum = 0;

    for (size_t i = 0; i < table->count; i++)
        sum += table->widths[i] + (i ? GAP : 0);
    while (room && sum > room) {
        size_t widest = 0;

        for (size_t i = 1; i < table->count; i++)
            widest = table->widths[i] > table->widths[widest] ? i : widest;
        if (table->widths[widest] <= NARROW)
            return;
        table->widths[widest]--;
        sum--;
    }
}

static void measure(struct show_table *table, const struct json_value *items)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, CELL_MAX);
    for (size_t c = 0; c < table->count; c++)
        table->widths[c] = table->columns[c].n;
    for (size_t i = 0; i < json_count(items); i++) {
        for (size_t c = 0; c < table->count; c++) {
            size_t width;

            cell_text(json_at(items, i), table->columns[c], &text);
            width = width_of(buf_span(&text));
            table->widths[c] = width > table->widths[c] ? width : table->widths[c];
        }
    }
    squeeze(table);
}

/* Cells that are too long are cut on a terminal only: elsewhere somebody may read them. */
static void print_cell(const struct show_table *table, size_t c, struct span text)
{
    bool is_last = c + 1 == table->count, is_cut = false;
    size_t width = width_of(text), room = table->widths[c];

    if (width > room && isatty(STDOUT_FILENO)) {
        text = cut_to(text, room - 1);
        is_cut = true;
        width = room;
    }
    printf(SPAN_FMT "%s", SPAN_ARG(text), is_cut ? "…" : "");
    if (!is_last)
        printf("%*s", (int)(width < room ? room - width : 0) + GAP, "");
}

static void print_head(const struct show_table *table)
{
    fputs(terminal_colour(TERMINAL_DIM), stdout);
    for (size_t c = 0; c < table->count; c++) {
        char name[64] = "";

        span_copy(span_first(table->columns[c], sizeof(name) - 1), name, sizeof(name));
        for (char *p = name; *p; p++)
            *p = *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p == '_' ? ' ' : *p;
        print_cell(table, c, span_str(name));
    }
    printf("%s\n", terminal_colour(TERMINAL_PLAIN));
}

void show_table_page(struct show_table *table, const struct json_value *items)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, CELL_MAX);
    if (!table->has_head) {
        measure(table, items);
        print_head(table);
        table->has_head = true;
    }
    for (size_t i = 0; i < json_count(items); i++) {
        for (size_t c = 0; c < table->count; c++) {
            cell_text(json_at(items, i), table->columns[c], &text);
            print_cell(table, c, buf_span(&text));
        }
        putchar('\n');
    }
}

/* ---- one object ---- */
/* "user_name" stands behind "user" already. */
static bool is_name_of_another(const struct json_value *object, struct span key)
{
    char base[64];

    return span_ends(key, SPAN("_name")) &&
           span_copy(span_first(key, key.n - 5), base, sizeof(base)) && json_get(object, base);
}

static void print_member(const struct json_value *object, struct span key,
                         const struct json_value *value, struct buf *text)
{
    const struct json_value *shown = cell_of(object, key);
    struct span id;

    buf_clear(text);
    show_value(shown, text);
    if (shown != value && json_as_str(value, &id))
        buf_printf(text, " (" SPAN_FMT ")", SPAN_ARG(id));
    clean(text);
    printf("%-20.*s " SPAN_FMT "\n", SPAN_ARG(key), SPAN_ARG(buf_span(text)));
}

void show_object(const struct json_value *object, const char *hidden)
{
    AUTO(buf_deinit) struct buf text;

    buf_init_heap(&text, (size_t)1 << 20);
    for (size_t i = 0; i < json_count(object); i++) {
        struct span key;
        const struct json_value *value = json_member(object, i, &key);

        if (!is_name_of_another(object, key) && !span_eq(key, span_str(hidden)))
            print_member(object, key, value, &text);
    }
}
