#include "controlplane/domain/when.h"
#include <stdio.h>

#define DAY_S 86400

struct civil {
    int64_t year;
    unsigned month, day;
};

/* Counted from 1 March of year 0, so that the leap day is the last of a year. */
int64_t when_days(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
           - 719468;
}

static struct civil civil_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    unsigned month = (unsigned)(shifted < 10 ? shifted + 3 : shifted - 9);

    return (struct civil){
        .year = year_of_era + era * 400 + (month <= 2),
        .month = month,
        .day = (unsigned)(day_of_year - (153 * shifted + 2) / 5 + 1),
    };
}

static unsigned days_in(int64_t year, unsigned month)
{
    static const unsigned char days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && is_leap ? 29 : days[month - 1];
}

/* Exactly n digits off the front. */
static bool cut_digits(struct span *s, size_t n, unsigned *ret_value)
{
    uint64_t v;

    if (s->n < n || !span_to_u64(span_first(*s, n), 9999, &v))
        return false;
    *s = span_skip(*s, n);
    *ret_value = (unsigned)v;
    return true;
}

static bool cut_char(struct span *s, const char *any_of)
{
    for (; *any_of; any_of++) {
        if (s->n && s->p[0] == *any_of) {
            *s = span_skip(*s, 1);
            return true;
        }
    }
    return false;
}

static bool cut_date(struct span *s, int64_t *ret_days)
{
    unsigned year, month, day;

    if (!cut_digits(s, 4, &year) || !cut_char(s, "-") || !cut_digits(s, 2, &month) ||
        !cut_char(s, "-") || !cut_digits(s, 2, &day))
        return false;
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in(year, month))
        return false;
    *ret_days = when_days(year, month, day);
    return true;
}

/* A leap second counts as the second before it. */
static bool cut_time(struct span *s, int64_t *ret_ms)
{
    unsigned hour, minute, second, ms = 0, digit, scale = 100;

    if (!cut_digits(s, 2, &hour) || !cut_char(s, ":") || !cut_digits(s, 2, &minute) ||
        !cut_char(s, ":") || !cut_digits(s, 2, &second))
        return false;
    if (hour > 23 || minute > 59 || second > 60)
        return false;
    if (cut_char(s, ".")) {
        if (!cut_digits(s, 1, &digit))
            return false;
        do {
            ms += digit * scale;
            scale /= 10;
        } while (cut_digits(s, 1, &digit));
    }
    if (second == 60)
        second = 59;
    *ret_ms = ((int64_t)hour * 3600 + minute * 60 + second) * 1000 + ms;
    return true;
}

static bool cut_offset(struct span *s, int64_t *ret_s)
{
    bool is_behind = s->n && s->p[0] == '-';
    unsigned hour, minute;

    *ret_s = 0;
    if (cut_char(s, "Zz"))
        return true;
    if (!cut_char(s, "+-") || !cut_digits(s, 2, &hour) || !cut_char(s, ":")
        || !cut_digits(s, 2, &minute))
        return false;
    if (hour > 23 || minute > 59)
        return false;
    *ret_s = (int64_t)(hour * 3600 + minute * 60) * (is_behind ? -1 : 1);
    return true;
}

bool when_parse(struct span text, int64_t *ret_ms)
{
    int64_t days, time_ms, offset_s, ms;

    if (!cut_date(&text, &days) || !cut_char(&text, "Tt ") || !cut_time(&text, &time_ms) ||
        !cut_offset(&text, &offset_s) || text.n)
        return false;
    ms = (days * DAY_S - offset_s) * 1000 + time_ms;
    if (ms < when_days(1, 1, 1) * DAY_S * 1000 || ms >= when_days(10000, 1, 1) * DAY_S * 1000)
        return false;
    *ret_ms = ms;
    return true;
}

const char *when_format(int64_t ms, char *dst)
{
    int64_t s = ms / 1000 - (ms % 1000 < 0);
    int64_t days = s / DAY_S - (s % DAY_S < 0);
    unsigned of_day = (unsigned)(s - days * DAY_S);
    struct civil c = civil_of(days);

    snprintf(dst, WHEN_TEXT_MAX, "%04u-%02u-%02uT%02u:%02u:%02uZ", (unsigned)c.year % 10000,
             c.month % 13, c.day % 32, of_day / 3600, of_day / 60 % 60, of_day % 60);
    return dst;
}
