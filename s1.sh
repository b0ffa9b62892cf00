. ./lib.sh
echo "##### same file twice by hard link"
i=$(img a.img); l0=$(att $i); v up --device $l0
ln $i $T/b.img; l1=$(att $T/b.img)
R=$T/root2; v up --device $l1; 
R=$T/root2 v down --device $l1 >/dev/null; R=$T/root v down --device $l0
losetup -d $l1
echo "##### loop over loop"
R=$T/root; v up --device $l0 >/dev/null
l2=$(att $l0); LOOPS="$l2"
R=$T/root2; v plan --device $l2; v up --device $l2
$A volume down --root $T/root2 --device $l2; $A volume down --root $T/root --device $l0
losetup -d $l2
echo "##### partitions of two loops"
i=$(img p.img); echo -e "label: gpt\n2048,400M" | sfdisk -q $i
p0=$(att -P $i); ls $p0*; R=$T/root; v up --device ${p0}p1
p1=$(att -P $i); R=$T/root2; v up --device ${p1}p1
v status --device ${p1}p1
v up --device $p0 --format any
