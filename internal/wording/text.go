package wording

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Lines makes lines fit for warnings: printable, bounded, and each once.
func Lines(lines []string) []string {
	var fit []string
	known := map[string]bool{}
	for _, line := range lines {
		line = truncate(plain(line), maxWarning)
		if line != "" && !known[line] {
			known[line] = true
			fit = append(fit, line)
		}
	}
	return fit
}

// plain replaces unprintable characters: the API server drops warnings with control
// characters. It cuts off text that no bound leaves room for.
func plain(s string) string {
	s = s[:min(len(s), maxText)]
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) { // as most are
		return strings.TrimSpace(s)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?")))
}

// shorten cuts the middle out of a long name. It looks at the ends alone: an image reference of
// 3 MiB is worded for each finding about it.
func shorten(s string) string {
	const half = maxName / 2
	if len(s) <= utf8.UTFMax*maxName && utf8.RuneCountInString(s) <= maxName {
		return s
	}
	start, end := 0, len(s)
	for range half {
		_, size := utf8.DecodeRuneInString(s[start:])
		start += size
	}
	for range half - 1 {
		_, size := utf8.DecodeLastRuneInString(s[:end])
		end -= size
	}
	return s[:start] + "…" + s[end:]
}

// truncate cuts s at limit runes.
func truncate(s string, limit int) string {
	count, cut := 0, 0
	for i := range s {
		if count++; count == limit {
			cut = i
		}
		if count > limit {
			return s[:cut] + "…"
		}
	}
	return s
}
