#include "lib/state/record_table_internal.h"
#include <errno.h>

/* Items that are strings: parsed from a span, written as text. */

static int ulid_read(const struct json_value *v, void *element)
{
    struct span text;

    return json_as_str(v, &text) && ulid_parse(text, element) ? 0 : -EINVAL;
}

static void ulid_write(const void *element, struct json_writer *w)
{
    json_put_str(w, NULL, ulid_span(element));
}

const struct element_codec element_ulid = { sizeof(struct ulid), ulid_read, ulid_write, "a ULID" };

static int cidr_read(const struct json_value *v, void *element)
{
    struct span text;

    return json_as_str(v, &text) && cidr_parse(text, element) ? 0 : -EINVAL;
}

static void cidr_write(const void *element, struct json_writer *w)
{
    char text[ADDR_TEXT_MAX];

    json_put_text(w, NULL, cidr_format(element, text));
}

const struct element_codec element_cidr = { sizeof(struct cidr), cidr_read, cidr_write,
                                            "a network (10.0.0.0/8)" };

static int addr_read(const struct json_value *v, void *element)
{
    struct span text;

    return json_as_str(v, &text) && addr_parse(text, element) ? 0 : -EINVAL;
}

static void addr_write(const void *element, struct json_writer *w)
{
    char text[ADDR_TEXT_MAX];

    json_put_text(w, NULL, addr_format(element, text));
}

const struct element_codec element_addr = { sizeof(struct addr), addr_read, addr_write,
                                            "an IP address" };

/* Profiles know exact names, suffixes and networks. */
static int host_read(const struct json_value *v, void *element)
{
    struct host_pattern *p = element;
    struct span text;
    int r = json_as_str(v, &text) ? host_pattern_parse(text, p) : -EINVAL;

    if (r == 0 && p->kind != HOST_EXACT && p->kind != HOST_SUFFIX && p->kind != HOST_CIDR) {
        host_pattern_deinit(p);
        r = -EINVAL;
    }
    return r;
}

static void host_write(const void *element, struct json_writer *w)
{
    char text[320];

    json_put_text(w, NULL, host_pattern_format(element, text, sizeof(text)));
}

const struct element_codec element_host = { sizeof(struct host_pattern), host_read, host_write,
                                            "a host, *.suffix or network" };

static int port_read(const struct json_value *v, void *element)
{
    struct span text;

    return json_as_str(v, &text) && port_range_parse(text, element) ? 0 : -EINVAL;
}

static void port_write(const void *element, struct json_writer *w)
{
    const struct port_range *range = element;
    char mem[16];
    struct buf text;

    buf_init_fixed(&text, mem, sizeof(mem));
    buf_printf(&text, range->first == range->last ? "%u" : "%u-%u", range->first, range->last);
    json_put_str(w, NULL, buf_span(&text));
}

const struct element_codec element_port = { sizeof(struct port_range), port_read, port_write,
                                            "a port or range (8000-8100)" };

static int rule_read(const struct json_value *v, void *element)
{
    struct span text;

    return json_as_str(v, &text) ? acl_rule_parse(text, element) : -EINVAL;
}

static void rule_write(const void *element, struct json_writer *w)
{
    char text[512];

    json_put_text(w, NULL, acl_rule_format(element, text, sizeof(text)));
}

const struct element_codec element_rule = { sizeof(struct acl_rule), rule_read, rule_write,
                                            "a rule (*.example:80,443)" };

/* Items that are objects: field tables again. */

struct member_json {
    char agent[ULID_LEN + 1];
    int64_t priority, weight;
    bool is_enabled;
};

static const struct json_field member_fields[] = {
    { "agent", J_TEXT, offsetof(struct member_json, agent), ULID_LEN + 1, ULID_LEN, ULID_LEN,
      JSON_REQUIRED },
    { "priority", J_INT, offsetof(struct member_json, priority), 0, 0, 65535, JSON_REQUIRED },
    { "weight", J_INT, offsetof(struct member_json, weight), 0, 0, 65535, JSON_REQUIRED },
    { "enabled", J_BOOL, offsetof(struct member_json, is_enabled), 0, 0, 0, JSON_REQUIRED },
};

static int member_read(const struct json_value *v, void *element)
{
    struct agentgroup_member *m = element;
    struct member_json j = { 0 };
    struct json_error e;
    int r = json_decode(v, member_fields, ARRAY_LEN(member_fields), 0, &j, &e);

    if (r)
        return r;
    if (!ulid_parse(span_str(j.agent), &m->agent))
        return -EINVAL;
    m->priority = j.priority;
    m->weight = j.weight;
    m->is_enabled = j.is_enabled;
    return 0;
}

static void member_write(const void *element, struct json_writer *w)
{
    const struct agentgroup_member *m = element;

    json_open_object(w, NULL);
    json_put_text(w, "agent", m->agent.text);
    json_put_int(w, "priority", m->priority);
    json_put_int(w, "weight", m->weight);
    json_put_bool(w, "enabled", m->is_enabled);
    json_close_object(w);
}

const struct element_codec element_member = {
    sizeof(struct agentgroup_member), member_read, member_write,
    "a member (agent, priority, weight, enabled)"
};

static const struct json_field window_fields[] = {
    { "days", J_INT, offsetof(struct grant_window, days), 0, 1, 127, JSON_REQUIRED },
    { "from_min", J_INT, offsetof(struct grant_window, from_min), 0, 0, 1439, JSON_REQUIRED },
    { "to_min", J_INT, offsetof(struct grant_window, to_min), 0, 1, 1440, JSON_REQUIRED },
};

static int window_read(const struct json_value *v, void *element)
{
    struct json_error e;

    return json_decode(v, window_fields, ARRAY_LEN(window_fields), 0, element, &e);
}

static void window_write(const void *element, struct json_writer *w)
{
    const struct grant_window *window = element;

    json_open_object(w, NULL);
    json_put_int(w, "days", window->days);
    json_put_int(w, "from_min", window->from_min);
    json_put_int(w, "to_min", window->to_min);
    json_close_object(w);
}

const struct element_codec element_window = { sizeof(struct grant_window), window_read,
                                              window_write, "a window (days, from_min, to_min)" };

static const struct json_field offset_fields[] = {
    { "from_s", J_INT, offsetof(struct zone_offset, from_s), 0, 0, INT64_MAX / 1000, JSON_REQUIRED },
    { "offset_s", J_INT, offsetof(struct zone_offset, offset_s), 0, -86399, 86399, JSON_REQUIRED },
};

static int offset_read(const struct json_value *v, void *element)
{
    struct json_error e;

    return json_decode(v, offset_fields, ARRAY_LEN(offset_fields), 0, element, &e);
}

static void offset_write(const void *element, struct json_writer *w)
{
    const struct zone_offset *o = element;

    json_open_object(w, NULL);
    json_put_int(w, "from_s", o->from_s);
    json_put_int(w, "offset_s", o->offset_s);
    json_close_object(w);
}

const struct element_codec element_offset = { sizeof(struct zone_offset), offset_read,
                                              offset_write, "an offset (from_s, offset_s)" };
