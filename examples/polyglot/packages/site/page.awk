BEGIN {
    FS = "\t"
    print "<!doctype html>\n<title>Texts</title>\n<table>"
    print "<tr><th>text<th>words<th>lines<th>longest line"
}
{
    printf "<tr><td>%s<td>%d<td>%d<td>%d\n", $1, $2, $3, $4
    words += $2
}
END {
    printf "</table>\n<p>%d words in %d texts.</p>\n", words, NR
}
