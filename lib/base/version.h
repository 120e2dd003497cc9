#pragma once
/* version.h - the version that all programs of this tree share. */
#define ADIT_VERSION "0.1.0"
